package service

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/audit"
)

// Telemetry is where the service reports to, besides its lines on standard error. Each field is optional. ../../otel has one of
// OpenTelemetry's SDK, which the example itself does without.
type Telemetry struct {
	Tracers trace.TracerProvider // requests, and the library's part of them
	Meters  metric.MeterProvider
	Log     slog.Handler // gets the lines that standard error gets, with the span in their context
	// Shutdown sends what has not been sent. It is called once, after the last request and before the trail is closed.
	Shutdown func(context.Context) error
}

// NewTelemetry makes a service's telemetry, when it begins. What cannot be sent it says on errs.
type NewTelemetry func(ctx context.Context, errs io.Writer) (*Telemetry, error)

// shutdownWithin is how long a collector that is away may hold up the end of the service.
const shutdownWithin = 5 * time.Second

// reports is what all parts of the service report to.
type reports struct {
	log     *slog.Logger
	library *audit.Telemetry
	end     func() // once, whoever calls it
}

func newReports(ctx context.Context, errs io.Writer, telemetry NewTelemetry) (*reports, error) {
	t := &Telemetry{}
	if telemetry != nil {
		var err error
		if t, err = telemetry(ctx, errs); err != nil {
			return nil, err
		}
	}
	var lines slog.Handler = slog.NewJSONHandler(errs, nil)
	if t.Log != nil {
		lines = slog.NewMultiHandler(lines, t.Log)
	}
	log := slog.New(lines)
	return &reports{log, &audit.Telemetry{TracerProvider: t.Tracers, MeterProvider: t.Meters, Logger: log}, sync.OnceFunc(func() {
		if t.Shutdown == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
		defer cancel()
		if err := t.Shutdown(ctx); err != nil { // no failure of the service's
			log.Warn("telemetry was not sent to its end", slog.Any("error", err))
		}
	})}, nil
}

// quiet is without log lines.
func (r *reports) quiet() *reports {
	library := *r.library
	library.Logger = nil
	return &reports{slog.New(slog.DiscardHandler), &library, r.end}
}
