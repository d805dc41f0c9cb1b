package storagetest

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	_ "modernc.org/sqlite" // the database of New

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// Env is a guarded database and a guarded bucket for one test.
type Env struct {
	DB     *sql.DB
	Bucket *blob.Bucket
	// Raw and RawBucket are what is underneath, without a guard: what the disk has.
	Raw       *sql.DB
	RawBucket *blob.Bucket
	Keys      *keys.Keyring
	Trail     *Trail
	t         testing.TB
}

// New makes an SQLite database with tables by the statements of ddl, and opens it, and a bucket in memory, through the guard. A
// CREATE TABLE of a declared table ends in its closing parenthesis, and gets the constraints of the sealed columns ([sqldb.Table.Checks]) itself.
// What cannot be opened ends the test. Everything is closed and removed with it.
func New(t testing.TB, schema sqldb.Schema, ddl ...string) *Env {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("storagetest: %v", err)
		}
	}
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	must(err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(err)
	e := &Env{Trail: &Trail{}, t: t, RawBucket: memblob.OpenBucket(nil)}
	t.Cleanup(func() { e.RawBucket.Close() })
	e.Keys, err = keys.Open(ctx, kek, store, &keys.Options{Audit: e.Trail})
	must(err)
	t.Cleanup(func() { e.Keys.Close() })

	path := filepath.Join(dir, "test.db")
	e.Raw, err = sql.Open("sqlite", "file:"+path+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_pragma=synchronous(0)")
	must(err)
	t.Cleanup(func() { e.Raw.Close() })
	for _, statement := range ddl {
		_, err := e.Raw.ExecContext(ctx, schema.WithChecks(dialect.SQLite, statement))
		must(err)
	}
	guard := storage.Guard{Keys: e.Keys, Audit: e.Trail}
	e.DB, err = sqldb.Open(ctx, "sqlite:"+path, schema, guard, nil)
	must(err)
	t.Cleanup(func() { e.DB.Close() })
	e.Bucket, err = blobs.Wrap(e.RawBucket, guard, &blobs.Options{Label: "storagetest"})
	must(err)
	t.Cleanup(func() { e.Bucket.Close() })
	return e
}

// As returns the context of a request of a tenant's, whose keys are made when it is asked for the first time.
func (e *Env) As(id string) context.Context {
	e.t.Helper()
	parsed, err := tenant.Parse(id)
	if err == nil {
		err = e.Keys.Provision(context.Background(), parsed)
	}
	if err != nil {
		e.t.Fatalf("storagetest: tenant %q: %v", id, err)
	}
	return access(context.Background(), parsed)
}

func access(ctx context.Context, id tenant.ID) context.Context {
	return tenant.NewContext(ctx, tenant.Access{Tenant: id, Actor: "storagetest", Purpose: "test"})
}

// Trail is an audit trail in memory, for tests alone: what it holds is gone with the process. It is safe for concurrent use.
type Trail struct {
	mu     sync.Mutex
	events []audit.Event
}

// Record implements audit.Recorder.
func (t *Trail) Record(_ context.Context, e *audit.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, *e)
	return nil
}

// Events returns what was recorded since it was last called.
func (t *Trail) Events() []audit.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	events := t.events
	t.events = nil
	return events
}
