package routekek_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/routekek"
	"github.com/strongroom-go/strongroom/tenant"
)

// slow is a provider far away; zero is one that does not answer.
type slow struct {
	sharing
	takes time.Duration
}

func (s slow) Wrap(ctx context.Context, id tenant.ID, plaintext []byte) ([]byte, error) {
	if s.takes == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(s.takes)
	return s.sharing.Wrap(ctx, id, plaintext)
}

// TestThoseThatMoveAreRewrappedAlone: very many move to a provider far away, and one to a provider that does not answer, which is
// that one's affair.
func TestThoseThatMoveAreRewrappedAlone(t *testing.T) {
	a, far, away := shares(t, "key a"), slow{shares(t, "key b"), 200 * time.Millisecond}, slow{sharing: shares(t, "key c")}
	r := routes{}
	kek, err := routekek.New(map[string]keys.KEK{"a": a, "far": far, "away": away}, r.choose, nil)
	must(t, err)
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	var all []tenant.ID
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	for i := range 128 {
		id := tenant.MustParse(fmt.Sprintf("t%03d", i))
		all = append(all, id)
		r[id] = routekek.Route{Provider: "a"}
		must(t, ring.Provision(t.Context(), id))
	}
	ring.Close()
	hangs := all[40]
	for i, id := range all {
		if i%9 != 0 {
			r[id] = routekek.Route{Provider: "far", Also: []string{"a"}}
		}
	}
	r[hangs] = routekek.Route{Provider: "away", Also: []string{"a"}}
	synctest.Test(t, func(t *testing.T) {
		ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
		must(t, err)
		defer ring.Close()
		failed := 0
		for id, err := range ring.RewrapEach(t.Context(), slices.Values(all), "") {
			if (err != nil) != (id == hangs) {
				if failed++; failed < 4 {
					t.Errorf("%s: %v", id, err)
				}
			}
			if _, err := ring.Tenant(t.Context(), id); err != nil {
				t.Fatalf("%s does not open: %v", id, err)
			}
		}
		if failed > 0 {
			t.Errorf("%d of %d were not done as they should", failed, len(all))
		}
	})
}
