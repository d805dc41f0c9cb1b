package routekek_test

import (
	"context"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleNew() {
	open := func(ours, theirs keys.KEK, brings map[tenant.ID]bool) (*routekek.KEK, error) {
		return routekek.New(map[string]keys.KEK{"ours": ours, "clinic-south": theirs}, func(_ context.Context, id tenant.ID) (routekek.Route, error) {
			if brings[id] {
				return routekek.Route{Provider: "clinic-south"}, nil
			}
			return routekek.Route{Provider: "ours"}, nil
		}, nil)
	}
	_ = open
}
