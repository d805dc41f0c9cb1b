package vaultkek

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/hashicorp/vault/api"
)

type onceKey struct{}

// once marks a request that is not safe to send twice.
func once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// retry decides whether a request is sent again. All but those marked by [once] may be: creating and deleting a key come to
// the same when repeated, and the others leave nothing in Vault.
func retry(ctx context.Context, response *http.Response, err error) (bool, error) {
	if response != nil && response.Header.Get("Retry-After") != "" {
		return false, nil // it said when, which is later than a call lasts
	}
	again, cerr := api.DefaultRetryPolicy(ctx, response, err)
	if ctx.Value(onceKey{}) == nil {
		return again, cerr
	}
	var way *net.OpError
	begun := !errors.As(err, &way) || way.Op != "dial"
	if response != nil && response.StatusCode == http.StatusTooManyRequests {
		begun = false
	}
	return again && !begun, nil
}
