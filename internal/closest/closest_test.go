package closest_test

import (
	"testing"

	"github.com/strongroom-go/strongroom/internal/closest"
)

func TestTo(t *testing.T) {
	names := []string{"patients", "visits", "kek", "kek.role"}
	for name, want := range map[string]string{
		"patients": "patients", "patietns": "patients", "Patient": "patients", "vistis": "visits", "kke": "kek", "kek.rol": "kek.role",
		"ab": "", "invoices": "", "": "",
	} {
		if got := closest.To(name, names); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
}
