package tenant_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleParse() {
	id, err := tenant.Parse("clinic-a")
	fmt.Println(id, id.Segment(), err)
	_, err = tenant.Parse("clinic/../b")
	fmt.Println(err)
	// Output:
	// clinic-a t-clinic-a <nil>
	// tenant: invalid id: byte 6 is 0x2f; use only ASCII letters, digits and - _ . : @
}

func ExampleNewContext() {
	ctx := tenant.NewContext(context.Background(), tenant.Access{
		Tenant: tenant.MustParse("clinic-a"), Actor: "dr.adams", Purpose: "treatment",
	})
	a, err := tenant.FromContext(ctx)
	fmt.Println(a.Tenant, a.Purpose, err)
	// Output: clinic-a treatment <nil>
}

func ExampleMiddleware() {
	resolve := func(r *http.Request) (tenant.Access, error) {
		// Verify the session here; the tenant comes from it and never from the URL.
		return tenant.Access{Tenant: tenant.MustParse("clinic-a"), Actor: "dr.adams", Purpose: "treatment"}, nil
	}
	handler := tenant.Middleware(resolve, nil)(http.NotFoundHandler())
	fmt.Printf("%T\n", handler)
	// Output: http.HandlerFunc
}
