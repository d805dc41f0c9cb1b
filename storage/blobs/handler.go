package blobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// tokenParameter is the query parameter of a token.
const tokenParameter = "token"

// Handler serves and accepts objects over HTTP for the tokens of a [Signer]: GET and HEAD, with ranges, conditions and
// resumption, PUT and DELETE. It holds a few segments in memory, whatever the object's size.
//
// The token says which object it is, of which tenant, and in whose name. Nothing else in a request does: the path is
// not looked at, so mount the handler where you like, and end the path with a file name if you like. Each request
// passes the bucket's guard in the name of the one who asked for the token, and is recorded as theirs.
//
// The token is in the header "Authorization: Bearer TOKEN" or in the query parameter "token". A header stays out of
// logs, histories and referrers, and works for programs; a parameter works in links and in <img>, and whoever comes to
// see the URL before it expires can use it. [HandlerOptions.HeaderOnly] closes the second way.
//
// A token that is missing, forged, changed, expired, of another bucket, or for another method or content type; an
// actor whom the authorizer refuses; a tenant that is suspended, shredded or unknown: all get the same answer, 403.
// [HandlerOptions.OnError] learns which it was. What was refused although its token is genuine is in the audit trail as
// a denial; what has no genuine token is nobody's, and is not.
//
// The other answers: 200, 206, 304, 412 and 416 as of http.ServeContent; 201 and 204 for PUT and DELETE; 400 for a PUT
// of a range; 404 where the object is absent; 412 where it is there and the grant is CreateOnly, or the PUT has
// "If-None-Match: *"; 413 for more than the grant allows; 415 for an encoded PUT; 501 for a PUT or DELETE with another
// condition, which stores cannot keep; 503 where keys or the audit log are away; 500 for all else. An object that
// turns out to be damaged after the header is sent breaks the connection off, so that no client takes a part of it for
// the whole. A PUT whose body breaks off leaves no object.
//
// Of several ranges in one request none is taken: the answer is the whole object (RFC 9110, 14.2). Set timeouts in
// http.Server; the handler has none of its own. A token's expiry does not end a transfer that has begun.
type Handler struct {
	bucket *bucket
	signer *Signer
	opts   HandlerOptions
}

var _ http.Handler = (*Handler)(nil)

// HandlerOptions are the optional settings of [NewHandler].
type HandlerOptions struct {
	// HeaderOnly takes tokens from the Authorization header only.
	HeaderOnly bool
	// Inline serves objects with their own Content-Disposition. Default: as attachments, keeping the file name, because
	// an uploaded HTML page that a browser shows runs its scripts in your site's name.
	Inline bool
	// CacheControl is the header of every answer with content. It must have the directive private or no-store: a
	// shared cache would serve one tenant's object to another. Default "private, no-store".
	CacheControl string
	// OnError is told why a request failed or was refused. The error has no token in it, and may name the tenant.
	OnError func(*http.Request, error)
}

// NewHandler returns a handler for a bucket that [Open] or [Wrap] returned and tokens that signer issued for it. opts
// may be nil.
func NewHandler(from *blob.Bucket, signer *Signer, opts *HandlerOptions) (*Handler, error) {
	h := &Handler{bucket: guarded(from), signer: signer}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.CacheControl == "" {
		h.opts.CacheControl = "private, no-store"
	}
	var problems []error
	if h.bucket == nil {
		problems = append(problems, errors.New("blobs: NewHandler needs a bucket that Open or Wrap returned; it would serve everybody's objects from another"))
	}
	if signer == nil {
		problems = append(problems, errors.New("blobs: NewHandler needs a signer; make one with NewSigner"))
	}
	if !unshared(h.opts.CacheControl) {
		problems = append(problems, errors.New("blobs: HandlerOptions.CacheControl lets shared caches keep objects; add the directive private or no-store"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return h, nil
}

// unshared reports whether a Cache-Control keeps content out of shared caches (RFC 9111, 3).
func unshared(cacheControl string) bool {
	ok := false
	for d := range strings.SplitSeq(cacheControl, ",") {
		name, _, argued := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
		switch name {
		case "private": // private="field" keeps that field only
			ok = ok || !argued
		case "no-store":
			ok = true
		case "public", "s-maxage":
			return false
		}
	}
	return ok
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer") // the token may be in the URL
	header.Add("Vary", "Authorization")
	ctx, g, err := h.admit(r)
	if err == nil {
		switch g.Method {
		case envelope.GrantGet:
			err = h.serve(ctx, w, r, g)
		case envelope.GrantPut:
			err = h.accept(ctx, w, r, g)
		case envelope.GrantDelete:
			if err = unconditional(r, "If-Match", "If-None-Match", "If-Unmodified-Since"); err != nil {
				break
			}
			if err = h.bucket.Delete(ctx, g.Key, &driver.DeleteOptions{}); err == nil {
				w.WriteHeader(http.StatusNoContent)
			}
		}
	}
	if err == nil {
		return
	}
	if h.opts.OnError != nil {
		h.opts.OnError(r, err)
	}
	if errors.As(err, new(*brokenOff)) {
		panic(http.ErrAbortHandler) // recovered by net/http, which ends the connection
	}
	status := h.statusOf(err)
	http.Error(w, http.StatusText(status), status)
}

// brokenOff is an error after the answer's header.
type brokenOff struct{ error }

func (e *brokenOff) Unwrap() error { return e.error }

// admit opens the request's token, and returns the context of the access that the request is.
func (h *Handler) admit(r *http.Request) (context.Context, *envelope.Grant, error) {
	g, err := h.signer.open(h.bucket.label, h.token(r))
	if err != nil {
		return nil, nil, err
	}
	ctx := tenant.NewContext(r.Context(), accessOfGrant(g))
	if err = h.signer.check(g, r.Method); err == nil && g.FixedType && strings.Join(r.Header.Values("Content-Type"), ", ") != g.ContentType {
		err = &codedError{gcerrors.PermissionDenied, "refused: token for another content type", "blobs: the token is for another content type"}
	}
	if err != nil {
		return nil, nil, h.bucket.gate.Refuse(ctx, h.bucket.opOf(g.Method, g.Key), err)
	}
	return ctx, g, nil
}

// token returns the one token of a request, or "": one that has several has none, lest two parties read different ones.
func (h *Handler) token(r *http.Request) string {
	var tokens []string
	for _, v := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(v, " ")
		if strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, token)
		}
	}
	if !h.opts.HeaderOnly {
		tokens = append(tokens, r.URL.Query()[tokenParameter]...)
	}
	if len(tokens) != 1 {
		return ""
	}
	return tokens[0]
}

// statusOf answers all refusals alike.
func (h *Handler) statusOf(err error) int {
	var status *statusError
	switch {
	case errors.As(err, &status):
		return status.status
	case errors.Is(err, errForged), errors.Is(err, keys.ErrShredded), errors.Is(err, keys.ErrNotProvisioned):
		return http.StatusForbidden
	case h.bucket.ErrorCode(err) == gcerrors.PermissionDenied && !errors.As(err, new(*storeError)):
		return http.StatusForbidden
	case errors.Is(err, audit.ErrUnavailable), errors.Is(err, keys.ErrUnavailable):
		return http.StatusServiceUnavailable
	case h.bucket.noObject(err):
		return http.StatusNotFound
	case h.bucket.ErrorCode(err) == gcerrors.InvalidArgument && !errors.As(err, new(*storeError)):
		return http.StatusBadRequest
	default:
		return http.StatusInternalServerError
	}
}

// statusError is an error with an answer of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }

func (e *statusError) Unwrap() error { return e.err }

func status(code int, format string, args ...any) error {
	return &statusError{code, fmt.Errorf("blobs: "+format, args...)}
}
