package keys_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestAListIsComplete where it is longer than what is asked of the store at once.
func TestAListIsComplete(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	f := &manyIDs{Store: l.store, n: 1000}
	n := 0
	var last string
	for x, err := range openRing(t, l.kek, f, nil).Tenants(t.Context()) {
		wantErr(t, err, keys.ErrIntegrity) // all of them have a's record
		if x.ID.String() <= last {
			t.Fatalf("%s after %s", x.ID, last)
		}
		n, last = n+1, x.ID.String()
	}
	if n != f.n {
		t.Errorf("%d of %d", n, f.n)
	}
}

// TestAListInAnotherOrderIsRefused: a store that sorts as a collation of its database does, and not by bytes. A tenant that is left out between
// two pages would miss what is done for all, and one that comes back would for ever.
func TestAListInAnotherOrderIsRefused(t *testing.T) {
	for _, pages := range [][]string{{"a", "B"}, {"a", "a"}, {"b", "c", "a"}} {
		l := newLocal(t)
		s := &paged{Store: l.store, ids: pages}
		err := errors.New("the list does not end")
		n := 0
		for listed, lerr := range openRing(t, l.kek, s, nil).Tenants(t.Context()) {
			if n++; listed.ID.IsZero() {
				err = lerr
			} else if n > 10 {
				break
			}
		}
		wantErr(t, err, keys.ErrIntegrity)
	}
}

// paged is a store that always lists the same.
type paged struct {
	keys.Store
	ids []string
}

func (p *paged) List(context.Context, tenant.ID, int) (all []tenant.ID, _ error) {
	for _, id := range p.ids {
		all = append(all, tenant.MustParse(id))
	}
	return all, nil
}

func (p *paged) Get(context.Context, tenant.ID) (keys.Record, error) {
	return keys.Record{Data: []byte("damaged"), Version: 1}, nil
}

// manyIDs is a store that has one record under many ids.
type manyIDs struct {
	keys.Store
	n int
}

func (m *manyIDs) Get(ctx context.Context, _ tenant.ID) (keys.Record, error) {
	return m.Store.Get(ctx, idA)
}

func (m *manyIDs) List(_ context.Context, after tenant.ID, limit int) (ids []tenant.ID, _ error) {
	for i := range m.n {
		if id := tenant.MustParse(fmt.Sprintf("t%06d", i)); id.String() > after.String() && len(ids) < limit {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
