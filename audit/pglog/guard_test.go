package pglog_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestGuard has a guarded database record into a table: what happens is in the trail before it does, and while the trail is
// away nothing is read or written.
func TestGuard(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	r, through := testenv.NewRelay(t, tr.recorder)
	trail := tr.open(t, through, 2*time.Second)
	acme, globex := tenant.MustParse("acme"), tenant.MustParse("globex")
	as := func(id tenant.ID) context.Context {
		return tenant.NewContext(t.Context(), tenant.Access{Tenant: id, Actor: "dr.okafor@example.org", Purpose: "treatment"})
	}

	schema := sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}}
	statements, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tr.owner, `CREATE TABLE patients (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (tenant_id, id))`, statements)
	ring := openRing(t, trail)
	for _, id := range []tenant.ID{acme, globex} {
		if err := ring.Provision(as(id), id); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sqldb.Open(t.Context(), tr.recorder, schema, storage.Guard{Keys: ring, Audit: trail}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := func(id tenant.ID) (name string, err error) {
		err = db.QueryRowContext(as(id), `SELECT name FROM patients WHERE id = 1`).Scan(&name)
		return name, err
	}
	for _, id := range []tenant.ID{acme, globex} {
		if _, err := db.ExecContext(as(id), `INSERT INTO patients (id, name) VALUES (1, $1)`, "patient of "+id.String()); err != nil {
			t.Fatal(err)
		}
		if got, err := name(id); err != nil || got != "patient of "+id.String() {
			t.Fatalf("%s reads %q, %v", id, got, err)
		}
	}

	// The trail does not answer: nothing is released, nothing is written.
	<-lose(t, r, trail)
	if got, err := name(acme); !errors.Is(err, audit.ErrUnavailable) || got != "" {
		t.Errorf("while the trail is away: %q, %v", got, err)
	}
	if _, err := db.ExecContext(as(acme), `UPDATE patients SET name = 'changed' WHERE id = 1`); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("while the trail is away: %v", err)
	}
	r.Cut()
	for deadline := time.Now().Add(time.Minute); trail.Err() != nil && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if got, err := name(acme); err != nil || got != "patient of acme" {
		t.Errorf("when it is back: %q, %v", got, err)
	}
	if err := errors.Join(db.Close(), trail.Close()); err != nil {
		t.Fatal(err)
	}

	if _, report := tr.seal(t, dir); report.Missing != 0 || report.OpenStreams != 0 || report.Tenants != 2 {
		t.Errorf("%s", report)
	}
	var reads, writes []string
	for _, e := range read(t, dir, &audit.Filter{Tenant: acme}) {
		if strings.Contains(string(e.Raw), "okafor") || strings.Contains(string(e.Raw), "patient of") {
			t.Errorf("in the clear: %s", e.Raw)
		}
		switch e.Code {
		case audit.CodeQuery:
			reads = append(reads, string(e.Phase))
		case audit.CodeExec:
			writes = append(writes, string(e.Phase))
		}
	}
	if count(reads, "outcome") < 2 || count(reads, "intent") < 2 || count(writes, "outcome") != 1 || count(writes, "intent") < 1 {
		t.Errorf("the trail has the reads %v and the writes %v", reads, writes)
	}
}

// lose makes the trail's database stop answering, and returns when an event has been lost there.
func lose(t *testing.T, r *testenv.Relay, trail *audit.Stream) <-chan struct{} {
	t.Helper()
	lost := r.Lose("replies")
	if _, err := trail.Queue(t.Context(), event("acme", "lost")); err != nil {
		t.Fatal(err)
	}
	return lost
}

func count(list []string, what string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}

func openRing(t *testing.T, trail audit.Recorder) *keys.Keyring {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Audit: trail})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	return ring
}
