package session

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/tenant"
)

// cookieName is that of every session's cookie. A browser may be signed in at both clinics, and as a reviewer: the cookies
// differ by their path, which says which one comes along, and nothing else. Whose session it is the token in it says.
const cookieName = "clinic-session"

// SetCookie signs a browser in below a path. No script sees the cookie, and no other site's request brings it along.
func SetCookie(w http.ResponseWriter, path, token string, secure bool) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: path, MaxAge: int(Lifetime.Seconds()),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode})
}

// DropCookie signs a browser out below a path.
func DropCookie(w http.ResponseWriter, path string, secure bool) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: path, MaxAge: -1, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode})
}

// FromCookie returns the token of a browser's request, or "".
func FromCookie(r *http.Request) string {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 { // two of one path are somebody else's doing
		return ""
	}
	return cookies[0].Value
}

// FromHeader returns the token of a program's request, or "".
func FromHeader(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// Resolver returns what [tenant.Middleware] asks who a request is from. The tenant, the actor and the purpose come from the
// verified token and from nowhere else.
func (v *Verifier) Resolver(token func(*http.Request) string) tenant.Resolver {
	return func(r *http.Request) (tenant.Access, error) {
		id, err := v.Verify(r.Context(), token(r))
		if err != nil {
			return tenant.Access{}, err
		}
		clinic, err := tenant.Parse(id.Tenant)
		if err != nil {
			return tenant.Access{}, fmt.Errorf("session: the token's clinic: %w", err)
		}
		// Where the URL names a clinic too, it has to be the token's. It never chooses one.
		if named := r.PathValue("clinic"); named != "" && named != clinic.String() {
			return tenant.Access{}, fmt.Errorf("%w: the session is another clinic's", tenant.ErrDenied)
		}
		return tenant.Access{Tenant: clinic, Actor: id.Subject, Purpose: id.Purpose, Request: RequestID(r.Context())}, nil
	}
}

type requestKey struct{}

// WithRequestID gives each request an id, which is in the answer, in the log and in every event of the trail. A client may
// choose it, as a UUID, so that it can tell what became of a request whose answer was lost.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
			id = uuid.NewString()
		}
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

// RequestID returns the id of the request that ctx belongs to.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
