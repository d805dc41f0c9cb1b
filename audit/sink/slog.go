package sink

import (
	"context"
	"log/slog"

	"github.com/strongroom-go/strongroom/audit"
)

// Slog returns a sink that hands each event to a handler as a record: the code is the message, the
// time the event's, and the level Info, or Warn for what OCSF calls medium, or Error above that.
// Attributes are named as in [audit.Entry], in lower case, without those that are empty; uid is
// always there. It is delivered when the handler has returned nil: whether that means a disk is the
// handler's, and what it is not enabled for is passed over.
func Slog(h slog.Handler) Sink { return slogSink{h} }

type slogSink struct{ h slog.Handler }

func (slogSink) String() string { return "the log handler" }
func (slogSink) Close() error   { return nil }

// Deliver implements [Sink].
func (s slogSink) Deliver(ctx context.Context, events []audit.Entry) (n int, err error) {
	for i := range events {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		e := &events[i]
		level := slog.LevelInfo
		switch e.Severity {
		case "Medium":
			level = slog.LevelWarn
		case "High", "Critical", "Fatal":
			level = slog.LevelError
		}
		if !s.h.Enabled(ctx, level) {
			continue
		}
		r := slog.NewRecord(e.Time, level, string(e.Code), 0)
		r.AddAttrs(attributes(e)...)
		if err := s.h.Handle(ctx, r); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

func attributes(e *audit.Entry) []slog.Attr {
	list := []slog.Attr{slog.String("uid", e.UID), slog.String("log", e.Log), slog.Int64("index", e.Index)}
	for _, a := range []struct{ key, value string }{
		{"phase", string(e.Phase)}, {"status", string(e.Status)}, {"tenant", e.Tenant}, {"actor", e.Actor}, {"purpose", e.Purpose}, {"request", e.Request},
		{"transaction", e.Transaction}, {"correlation", e.Correlation}, {"store", e.Store}, {"name", e.Name}, {"statement", e.Statement},
		{"fingerprint", e.Fingerprint}, {"reason", e.Reason}, {"stream", e.Stream},
	} {
		if a.value != "" {
			list = append(list, slog.String(a.key, a.value))
		}
	}
	for _, a := range []struct {
		key   string
		value []string
	}{{"tables", e.Tables}, {"columns", e.Columns}, {"sealed_columns", e.SealedColumns}} {
		if len(a.value) > 0 {
			list = append(list, slog.Any(a.key, a.value))
		}
	}
	for _, a := range []struct {
		key     string
		value   int64
		present bool
	}{
		{"sequence", e.Sequence, e.Sequence > 0}, {"rows", e.Rows, e.Rows >= 0}, {"bytes", e.Bytes, e.Bytes >= 0},
		{"key_version", int64(e.KeyVersion), e.KeyVersion > 0}, {"number", e.Number, e.Number > 0},
	} {
		if a.present {
			list = append(list, slog.Int64(a.key, a.value))
		}
	}
	return list
}
