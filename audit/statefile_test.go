package audit

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestStateIsOfItsMoment: what is encoded beside the writer is what the tenants' trees were, whatever is recorded meanwhile.
func TestStateIsOfItsMoment(t *testing.T) {
	leaf := func(i int) tlog.Hash { return tlog.RecordHash(fmt.Append(nil, i)) }
	var tenants []*tenantState
	roots := map[string]tlog.Hash{}
	for size := range 70 {
		s := &tenantState{id: tenant.MustParse(fmt.Sprint("tenant-", size)), covered: int64(size / 2)}
		for i := range size {
			s.add(leaf(i))
		}
		if tenants = append(tenants, s); size > 0 {
			roots[s.id.String()] = s.tree.root()
		}
	}
	ends := tenantEnds(tenants)
	for _, s := range tenants {
		for i := range 70 {
			s.add(leaf(1000 + i))
		}
	}
	e := encodeState(nil, ends)
	got := map[string]*tenantState{}
	if !readTenants(bufio.NewReader(bytes.NewReader(e.body)), got) || len(got) != len(roots) {
		t.Fatalf("%d tenants of %d", len(got), len(roots))
	}
	for id, root := range roots {
		if got[id].tree.root() != root {
			t.Errorf("%s has the tree of another moment", id)
		}
	}
}

// TestStateOfALogThatIsClosed: a state that was encoded when the log is closed is written, too.
func TestStateOfALogThatIsClosed(t *testing.T) {
	dir, opts := aging(t)
	opts.stateEvents = 200
	l := mustOpen(t, dir, opts)
	for i := range 210 {
		mustRecord(t, l, query(acme, fmt.Sprint(i)))
	}
	mustCheckpoint(t, l) // which encodes one
	mustClose(t, l)
	v, err := verifierList([]string{ownVerifier(t, dir)}, ownSigner(t, dir).Name())
	if err != nil {
		t.Fatal(err)
	}
	if s, err := readState(vfs.OS{}, dir, ownSigner(t, dir).Name(), v); err != nil || s.checkpoint.tree.N < 200 {
		t.Errorf("%v", err)
	}
}
