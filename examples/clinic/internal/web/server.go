// Package web is the clinic's service over HTTP: pages for people under /at/CLINIC/, an API for programs under /api/, scans under
// /objects/, and what operators ask.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/tenant"
)

// Server has what the handlers need.
type Server struct {
	Records  records.Store
	Scans    *blob.Bucket
	Signer   *blobs.Signer
	Sessions *session.Verifier
	// SignIn returns tokens for invented people: a real service sends people to its identity provider here.
	SignIn SignIn
	Issuer http.Handler // nil where the issuer is elsewhere
	Trail  *Tail        // nil where there is none to be read here
	Health *Health
	Log    *slog.Logger
	Tracer trace.Tracer // nil: requests have no spans
	Secure bool         // the service is reached by https: cookies go nowhere else
}

// SignIn gives out tokens.
type SignIn interface {
	Issue(ctx context.Context, clinic, user string) (string, error)
	IssueReviewer(ctx context.Context) (string, error)
}

// Handler returns all of it.
func (s *Server) Handler() (http.Handler, error) {
	objects, err := blobs.NewHandler(s.Scans, s.Signer, &blobs.HandlerOptions{
		// Tokens are for pictures only: see uploadGrant and receive. The browser runs none of them.
		Inline: true,
		OnError: func(r *http.Request, err error) {
			s.Log.LogAttrs(r.Context(), slog.LevelWarn, "object refused", slog.Any("error", err))
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok\n")) })
	mux.Handle("GET /readyz", s.Health)
	mux.Handle("/objects/{id}", objects)
	if s.Issuer != nil {
		mux.Handle("/issuer/", http.StripPrefix("/issuer", s.Issuer))
	}
	s.api(mux)
	s.pages(mux)

	// From the outside in: an id, a span and a line in the log for each request, headers for each answer, no form from another site.
	var h http.Handler = http.NewCrossOriginProtection().Handler(mux)
	h = secureHeaders(h)
	h = s.traced(s.logged(h))
	return session.WithRequestID(h), nil
}

// secureHeaders allows pages what they need: styles, one script, pictures and frames of this very site.
func secureHeaders(next http.Handler) http.Handler {
	const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store") // pages have patients in them
		next.ServeHTTP(w, r)
	})
}

// logged writes one line for each request. It has the route and not the path, which has patients' ids in it, and no query,
// which has tokens.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			level := slog.LevelInfo
			if seen.status >= http.StatusInternalServerError {
				level = slog.LevelError
			}
			s.Log.LogAttrs(r.Context(), level, "request", slog.String("request", session.RequestID(r.Context())), slog.String("method", methodOf(r)),
				slog.String("route", r.Pattern), slog.Int("status", seen.status), slog.Duration("took", time.Since(began).Round(time.Microsecond)))
		}()
		next.ServeHTTP(seen, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// statusOf says what an error of the guarded stores is to a client. Why goes to the log, where it came from.
func statusOf(err error) int {
	var invalid *records.InvalidError
	switch {
	case errors.As(err, &invalid):
		return http.StatusBadRequest
	case errors.Is(err, records.ErrAbsent):
		return http.StatusNotFound
	case errors.Is(err, records.ErrExists):
		return http.StatusConflict
	case errors.Is(err, tenant.ErrDenied), errors.Is(err, keys.ErrSuspended), errors.Is(err, keys.ErrShredded), errors.Is(err, keys.ErrNotProvisioned):
		return http.StatusForbidden
	case errors.Is(err, audit.ErrUnavailable), errors.Is(err, keys.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// failed logs why a request failed, and returns the status to answer with. Errors of this library hold no data, and those
// of the drivers are passed on without what could.
func (s *Server) failed(r *http.Request, err error) int {
	s.Log.LogAttrs(r.Context(), slog.LevelWarn, "refused or failed", slog.String("request", session.RequestID(r.Context())), slog.String("route", r.Pattern), slog.Any("error", err))
	return statusOf(err)
}
