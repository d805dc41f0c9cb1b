package main

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// TestKeyScale measures a few tenants on SQLite, and holds the counts, which no busy machine changes, against what is promised.
func TestKeyScale(t *testing.T) {
	const tenants, cached = 300, 30
	f, err := newFixture(0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.cleanup()
	kek, err := f.shared()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", t.TempDir()+"/keys.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(60000)&_pragma=synchronous(off)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := sqlstore.Create(t.Context(), db, dialect.SQLite, ""); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(t.Context(), db, dialect.SQLite, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newKeyScale("test", tenants, cached, kek, store)
	s.within = 2 * time.Second
	results, err := s.run(2000, 2*s.within)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Result{}
	for _, r := range results {
		got[r.ID] = r
		t.Logf("%s: %s %s", r.ID, figure(r.ID, r.Unit, r.Ours), r.Peer)
	}
	for id, note := range map[string]string{
		"test.list": "of the first 300, with 4 questions", // two pages of ids, and two of records
		"test.warm": "with 30 KEK calls and 1 questions",
	} {
		if !strings.Contains(got[id].Peer, note) {
			t.Errorf("%s is %q; want %q in it", id, got[id].Peer, note)
		}
	}
	// A tenth of the tenants are some two thirds of the accesses. What is not a hit is one KEK call.
	hits, calls := got["test.hits"].Ours, got["test.kekcalls"].Ours
	if hits < 50 || hits > 90 || calls > 10*(100-hits)+1 {
		t.Errorf("%.1f %% hits, and %.0f KEK calls for 1000 accesses", hits, calls)
	}
	if together, alone := got["test.confirm"].Ours, got["test.confirm.alone"].Ours; together*4 > alone {
		t.Errorf("%.1f questions a second confirm %d tenants together, and %.1f one by one", together, cached, alone)
	}
}
