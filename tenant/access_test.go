package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/tenant"
)

func valid() tenant.Access {
	return tenant.Access{Tenant: tenant.MustParse("a"), Actor: "nurse-7", Purpose: "treatment"}
}

func TestFromContext(t *testing.T) {
	if _, err := tenant.FromContext(context.Background()); !errors.Is(err, tenant.ErrMissing) {
		t.Errorf("without an access: %v", err)
	}
	ctx := tenant.NewContext(context.Background(), valid())
	if a, err := tenant.FromContext(ctx); err != nil || a != valid() {
		t.Errorf("FromContext = %v, %v", a, err)
	}
	other := valid()
	other.Tenant = tenant.MustParse("b")
	if a, _ := tenant.FromContext(tenant.NewContext(ctx, other)); a.Tenant != other.Tenant {
		t.Errorf("the inner access does not count: %v", a)
	}
}

func TestInvalidAccessNamesEveryProblem(t *testing.T) {
	for name, change := range map[string]func(*tenant.Access){
		"Tenant":    func(a *tenant.Access) { a.Tenant = tenant.ID{} },
		"Actor":     func(a *tenant.Access) { a.Actor = "" },
		"Actor ":    func(a *tenant.Access) { a.Actor = "a\nb" },
		"Actor  ":   func(a *tenant.Access) { a.Actor = strings.Repeat("x", tenant.MaxActorLength+1) },
		"Purpose":   func(a *tenant.Access) { a.Purpose = "" },
		"Purpose ":  func(a *tenant.Access) { a.Purpose = "a\u2028b" },
		"Request":   func(a *tenant.Access) { a.Request = "\xff" },
		"Request  ": func(a *tenant.Access) { a.Request = "a\x7f" },
	} {
		a := valid()
		change(&a)
		_, err := tenant.FromContext(tenant.NewContext(context.Background(), a))
		if !errors.Is(err, tenant.ErrInvalidAccess) || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := tenant.Access{}.Validate()
	for _, part := range []string{"Tenant", "Actor", "Purpose"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}

func TestMiddleware(t *testing.T) {
	cases := map[string]struct {
		access tenant.Access
		err    error
		want   int
	}{
		"valid":      {valid(), nil, http.StatusOK},
		"failed":     {tenant.Access{}, errors.New("bad token s3cr3t"), http.StatusUnauthorized},
		"denied":     {tenant.Access{}, fmt.Errorf("%w: s3cr3t", tenant.ErrDenied), http.StatusForbidden},
		"incomplete": {tenant.Access{Tenant: tenant.MustParse("a")}, nil, http.StatusUnauthorized},
		"both":       {valid(), errors.New("expired"), http.StatusUnauthorized},
	}
	for name, c := range cases {
		reached := false
		h := tenant.Middleware(func(*http.Request) (tenant.Access, error) { return c.access, c.err }, nil)(
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				a, err := tenant.FromContext(r.Context())
				reached = err == nil && a == c.access
			}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != c.want || reached != (c.want == http.StatusOK) {
			t.Errorf("%s: status %d, handler reached %v", name, w.Code, reached)
		}
		if strings.Contains(w.Body.String(), "s3cr3t") {
			t.Errorf("%s: the answer repeats the resolver's error: %q", name, w.Body)
		}
	}
}
