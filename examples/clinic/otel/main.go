// Command otel is the clinic with OpenTelemetry's SDK: traces, metrics and logs over OTLP, set up by the standard OTEL_ variables of
// the environment.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 go -C examples/clinic/otel run .
//	OTEL_METRICS_EXPORTER=prometheus OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none go -C examples/clinic/otel run .
//
// It is a module of its own so that the library's has no dependency on the SDK.
package main

import (
	"os"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
)

func main() { os.Exit(service.Main(telemetry)) }
