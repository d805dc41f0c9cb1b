package oteltest

import (
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/tenant"
)

// What is asked of a real Vault is measured, each call once and by what it asks for; and while Vault is sealed, that it fails.
func TestVault(t *testing.T) {
	node := testenv.OwnVault(t, nil)
	mount := node.EnableTransit(t)
	w := newWorld(t, dialect.SQLite, func(c *stack.Config, _ *audit.Telemetry) {
		kek, err := vaultkek.Open(t.Context(), node.Addr, vaultkek.Token(node.RootToken), &vaultkek.Options{Mount: mount})
		must(t, err)
		c.KEK = kek
	})
	w.use(t)
	calls := w.collect(t)[telemetry.KEKDuration]
	spans := map[string]float64{}
	for _, s := range w.spans.GetSpans() {
		if op, ok := strings.CutPrefix(s.Name, "strongroom.kek."); ok {
			spans[op]++
			// A shredding asks whether what it destroyed is gone.
			if class := attr(s, "error.type"); s.SpanKind != trace.SpanKindClient || class != "" && !(op == "unwrap" && class == "not found") {
				t.Errorf("%s is of kind %v, and failed with %q", s.Name, s.SpanKind, attr(s, "error.type"))
			}
		}
	}
	for _, op := range []string{"create", "wrap", "unwrap", "rotate", "rewrap", "destroy"} {
		if n := sum(t, calls, telemetry.AttrOperation+"="+op); n == 0 || n != spans[op] {
			t.Errorf("%s: %v calls were measured, and %v have spans", op, n, spans[op])
		}
	}

	query := func(id string) error {
		_, err := w.DB["clinic"].ExecContext(as(t.Context(), id), `DELETE FROM visits`)
		return err
	}
	const other = "west-" + canary
	must(t, w.Keys.Provision(t.Context(), tenant.MustParse(other))) // takes the cache's only place
	must(t, query(other))
	node.Seal(t)
	if err := query(ours); !errors.Is(err, keys.ErrUnavailable) {
		t.Errorf("with Vault sealed: %v", err)
	}
	must(t, node.Unseal(t.Context()))
	for query(ours) != nil { // a failure is remembered for a second
		if t.Context().Err() != nil {
			t.Fatal("it does not come back")
		}
	}
	if sum(t, w.collect(t)[telemetry.KEKDuration], telemetry.AttrOperation+"=unwrap", "error.type=keys unavailable") == 0 {
		t.Error("no unwrapping is measured as failed")
	}
	text := w.exported(t)
	for _, line := range []string{"the KEK provider does not answer", "the KEK provider answers again"} {
		if n := strings.Count(text, line); n != 1 {
			t.Errorf("%q is told %d times", line, n)
		}
	}
	for _, secret := range []string{canary, node.RootToken, strings.TrimPrefix(node.Addr, "http://"), "vault:v1:"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is exported", secret)
		}
	}
}
