package tenant

import (
	"errors"
	"net/http"
)

// Resolver derives the access of an authenticated request, usually from a verified session or token. It must not
// take the tenant from anything the client could have chosen for itself.
type Resolver func(*http.Request) (Access, error)

// MiddlewareOptions are the optional settings of [Middleware].
type MiddlewareOptions struct {
	// OnError answers a request whose access could not be resolved; the handler behind is not called. Default:
	// 403 where the error wraps [ErrDenied], else 401, with the status text alone as the body.
	OnError func(http.ResponseWriter, *http.Request, error)
}

// Middleware puts the access that resolve returns into each request's context. A request for which resolve fails,
// or returns an invalid [Access], does not reach the handler. It panics when resolve is nil. opts may be nil.
func Middleware(resolve Resolver, opts *MiddlewareOptions) func(http.Handler) http.Handler {
	if resolve == nil {
		panic("tenant: Middleware needs a Resolver")
	}
	onError := defaultOnError
	if opts != nil && opts.OnError != nil {
		onError = opts.OnError
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			access, err := resolve(r)
			if err == nil {
				err = access.Validate()
			}
			if err != nil {
				onError(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), access)))
		})
	}
}

func defaultOnError(w http.ResponseWriter, _ *http.Request, err error) {
	status := http.StatusUnauthorized
	if errors.Is(err, ErrDenied) {
		status = http.StatusForbidden
	}
	http.Error(w, http.StatusText(status), status)
}
