package oteltest_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/strongroom-go/strongroom/audit"
)

// providers makes what a service reports to. Exporters are of the service's choice: OTLP's, Prometheus's. What it returns is called
// after the last request and before the trail is closed.
func providers(spans sdktrace.SpanExporter, metrics sdkmetric.Reader) (*audit.Telemetry, func() error) {
	service := resource.NewSchemaless(attribute.String("service.name", "clinic"))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(service),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.05))))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics), sdkmetric.WithResource(service))
	shutdown := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx))
	}
	return &audit.Telemetry{TracerProvider: tracers, MeterProvider: meters, Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}, shutdown
}
