package session

import (
	"testing"

	"github.com/strongroom-go/strongroom/tenant"
)

func TestAuthorize(t *testing.T) {
	harbor := tenant.Access{Tenant: tenant.MustParse("harbor"), Actor: "dr.adams", Purpose: "treatment"}
	billing := harbor
	billing.Purpose = "billing"
	file := tenant.Action{Verb: tenant.Read, Store: "postgresql", Tables: []string{"patients"}, Columns: []string{"patients.name", "patients.notes"}}
	list := tenant.Action{Verb: tenant.Read, Store: "postgresql", Tables: []string{"patients"}, Columns: []string{"patients.insurer", "patients.name"}}
	scan := tenant.Action{Verb: tenant.Read, Store: "blob", Name: "scans"}
	for name, c := range map[string]struct {
		access tenant.Access
		named  string // by the URL
		action tenant.Action
		ok     bool
	}{
		"a file":                   {harbor, "", file, true},
		"a file by a link":         {harbor, "harbor", file, true},
		"by another clinic's link": {harbor, "hillside", list, false},
		"by a link of none":        {harbor, "-", list, false},
		"a scan":                   {harbor, "", scan, true},
		"billing, a list":          {billing, "", list, true},
		"billing, a file":          {billing, "", file, false},
		"billing, a scan":          {billing, "", scan, false},
	} {
		ctx := t.Context()
		if c.named != "" {
			ctx = Naming(ctx, c.named)
		}
		if err := Authorize(ctx, c.access, c.action); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
