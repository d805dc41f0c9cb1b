package blobs

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// accept answers PUT. The object comes to be when all of the body is there, and not before.
func (h *Handler) accept(ctx context.Context, w http.ResponseWriter, r *http.Request, g *envelope.Grant) error {
	switch {
	case len(r.Header.Values("Content-Range")) > 0: // RFC 9110, 14.5
		return status(http.StatusBadRequest, "a PUT of a range would be taken for the whole object; send all of it")
	case len(r.Header.Values("Content-Encoding")) > 0:
		return status(http.StatusUnsupportedMediaType, "the body of a PUT is stored as it is; send it without Content-Encoding")
	case r.ContentLength > g.MaxBytes:
		return status(http.StatusRequestEntityTooLarge, "the body has %d bytes, over the grant's limit of %d", r.ContentLength, g.MaxBytes)
	}
	create, conditions := g.CreateOnly, []string{"If-Match", "If-Unmodified-Since"}
	if strings.TrimSpace(strings.Join(r.Header.Values("If-None-Match"), ", ")) == "*" {
		create = true
	} else {
		conditions = append(conditions, "If-None-Match")
	}
	if err := unconditional(r, conditions...); err != nil {
		return err
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" {
		contentType = storedContentType // and not what its bytes look like to a browser
	}
	writer, err := h.bucket.newWriter(ctx, g.Key, contentType, &driver.WriterOptions{IfNotExist: create})
	if create && h.bucket.existed(err) {
		return &statusError{http.StatusPreconditionFailed, err}
	}
	if err != nil {
		return err
	}
	// What the reader's failure makes of the draft is Close's to do: it drops it and records why.
	sent := writer.Upload(http.MaxBytesReader(w, r.Body, g.MaxBytes))
	if sent == nil && r.ContentLength >= 0 && writer.written != r.ContentLength {
		writer.err = status(http.StatusBadRequest, "the body has %d bytes, not the %d of its Content-Length", writer.written, r.ContentLength)
	}
	err = writer.Close()
	switch {
	case errors.As(sent, new(*http.MaxBytesError)):
		return &statusError{http.StatusRequestEntityTooLarge, err}
	case sent != nil && !errors.As(sent, new(*storeError)):
		return &statusError{http.StatusBadRequest, err} // to nobody: the body broke off
	case err != nil && create && h.bucket.existed(err):
		return &statusError{http.StatusPreconditionFailed, err}
	case err != nil:
		return err
	}
	if create {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// unconditional refuses a request with one of the given conditions: to change an object without keeping them would
// destroy what they protect (RFC 9110, 13.1).
func unconditional(r *http.Request, conditions ...string) error {
	for _, name := range conditions {
		if len(r.Header.Values(name)) > 0 {
			return status(http.StatusNotImplemented, "a %s with %s is not known here, and nothing was done; send it without, or a PUT with \"If-None-Match: *\"", r.Method, name)
		}
	}
	return nil
}
