package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/http/httpguts"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
)

// name is the service's unless OTEL_SERVICE_NAME has another.
const name = "clinic"

// telemetry makes providers whose exporters the environment chooses: OTLP over HTTP, unless OTEL_TRACES_EXPORTER and its likes or
// OTEL_EXPORTER_OTLP_PROTOCOL say otherwise.
func telemetry(ctx context.Context, errs io.Writer) (_ *service.Telemetry, err error) {
	complainTo(errs)
	if err := checkHeaders(); err != nil {
		return nil, err
	}
	var ends []func(context.Context) error
	shutdown := func(ctx context.Context) (err error) {
		for _, end := range ends {
			err = errors.Join(err, end(ctx))
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, shutdown(ctx))
		}
	}()
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", name)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	spans, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: %w", err)
	}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(about))
	ends = append(ends, tracers.Shutdown)
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_METRICS_EXPORTER: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(about))
	ends = append(ends, meters.Shutdown)
	lines, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("OTEL_LOGS_EXPORTER: %w", err)
	}
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(lines)), sdklog.WithResource(about))
	ends = append(ends, logs.Shutdown)
	return &service.Telemetry{Tracers: tracers, Meters: meters, Log: otelslog.NewHandler(name, otelslog.WithLoggerProvider(logs)), Shutdown: shutdown}, nil
}

// complainTo has the SDK say what it cannot send.
func complainTo(errs io.Writer) {
	lines := slog.NewJSONHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "input" { // of what it could not read, such as a URL with a password
			return slog.Attr{}
		}
		return a
	}})
	otel.SetLogger(logr.FromSlogHandler(lines))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { slog.New(lines).Warn("telemetry is not sent", slog.Any("error", err)) }))
}

// checkHeaders refuses what cannot be read of the headers for a collector, which the SDK would repeat: a collector's password or
// token is in them.
func checkHeaders() error {
	for _, of := range []string{"", "_TRACES", "_METRICS", "_LOGS"} {
		variable := "OTEL_EXPORTER_OTLP" + of + "_HEADERS"
		text := os.Getenv(variable)
		if text == "" {
			continue
		}
		for part := range strings.SplitSeq(text, ",") {
			key, value, ok := strings.Cut(part, "=")
			if _, err := url.PathUnescape(value); !ok || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(key)) {
				return fmt.Errorf("%s is not as in api-key=VALUE,other=VALUE, with values percent-encoded", variable)
			}
		}
	}
	return nil
}
