package offboard

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	_ "modernc.org/sqlite"

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

const canary = "canary.adaeze.okafor@example.org"

var (
	leaving = tenant.MustParse("clinic")
	staying = tenant.MustParse("Clinic")
	schema  = sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}, "visits": {}, "countries": {Shared: true}}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a tenant that leaves and one that stays, in two databases and two buckets, with an audit log of files.
type world struct {
	dir    string
	log    *audit.Log
	ring   *keys.Keyring
	guard  storage.Guard
	dbs    []*sql.DB
	raws   []*sql.DB
	bucket *blob.Bucket
	inner  *blob.Bucket
	plan   *Plan
}

func as(id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: canary, Purpose: "offboarding", Request: "r-1"})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, func(k keys.KEK) keys.KEK { return k })
}

func newWorldOn(t *testing.T, provider func(keys.KEK) keys.KEK) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), inner: memblob.OpenBucket(nil)}
	var err error
	w.log, err = audit.OpenLog(filepath.Join(w.dir, "audit"), &audit.Options{Origin: "audit.example.com/node-7", ReserveBytes: -1})
	must(t, err)
	t.Cleanup(func() { w.log.Close() })
	kek, err := localkek.Open(filepath.Join(w.dir, "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(w.dir, "keys"), nil)
	must(t, err)
	w.ring, err = keys.Open(t.Context(), provider(kek), store, &keys.Options{Audit: w.log, SuspendWithin: 300 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { w.ring.Close() })
	w.guard = storage.Guard{Keys: w.ring, Audit: w.log}
	for _, id := range []tenant.ID{leaving, staying} {
		must(t, w.ring.Provision(t.Context(), id))
	}
	for i := range 2 {
		w.database(t, fmt.Sprintf("app%d.db", i))
	}
	w.bucket, err = blobs.Wrap(w.inner, w.guard, &blobs.Options{Label: "records", SealNames: true})
	must(t, err)
	t.Cleanup(func() { w.bucket.Close() })
	for _, id := range []tenant.ID{leaving, staying} {
		for i := 1; i <= 3; i++ {
			must(t, w.bucket.WriteAll(as(id), fmt.Sprint("dir/", i), []byte("x"), nil))
			for _, db := range w.dbs {
				_, err := db.ExecContext(as(id), `INSERT INTO patients (id, name) VALUES ($1, 'x')`, i)
				must(t, err)
				_, err = db.ExecContext(as(id), `INSERT INTO visits (id, patient) VALUES ($1, $1)`, i)
				must(t, err)
			}
		}
	}
	h, err := NewKeyset()
	must(t, err)
	w.plan = &Plan{Guard: w.guard, Databases: w.dbs, Buckets: []Bucket{{Bucket: w.bucket}}, KeyID: "k1", Reason: "contract 4711 ended"}
	w.plan.Signer, _ = signerOf(t, h)
	return w
}

func (w *world) database(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	raw, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	t.Cleanup(func() { raw.Close() })
	checks := ", " + strings.Join(schema["patients"].Checks(dialect.SQLite), ", ")
	for _, ddl := range []string{
		`CREATE TABLE patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, PRIMARY KEY (tenant_id, id)` + checks + `)`,
		`CREATE TABLE visits (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, patient INTEGER NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, patient) REFERENCES patients (tenant_id, id))`,
		`CREATE TABLE countries (code TEXT PRIMARY KEY)`,
	} {
		_, err := raw.Exec(ddl)
		must(t, err)
	}
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, schema, w.guard, nil)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	w.dbs, w.raws = append(w.dbs, db), append(w.raws, raw)
}

// left is what there is of a tenant: rows and objects.
func (w *world) left(t *testing.T, id tenant.ID) (rows, objects int) {
	t.Helper()
	for _, raw := range w.raws {
		var n int
		must(t, raw.QueryRow(`SELECT (SELECT count(*) FROM patients WHERE tenant_id = $1) + (SELECT count(*) FROM visits WHERE tenant_id = $1)`, id.String()).Scan(&n))
		rows += n
	}
	page, _, err := w.inner.ListPage(t.Context(), blob.FirstPageToken, 1000, &blob.ListOptions{Prefix: id.Segment() + "/"})
	must(t, err)
	return rows, len(page)
}

func (w *world) wantLeft(t *testing.T, id tenant.ID, rows, objects int) {
	t.Helper()
	if r, o := w.left(t, id); r != rows || o != objects {
		t.Errorf("%s has %d rows and %d objects, want %d and %d", id, r, o, rows, objects)
	}
}

func TestATenantLeaves(t *testing.T) {
	w := newWorld(t)
	var stages []Stage
	w.plan.Progress = func(p Progress) { stages = append(stages, p.Stage) }
	keysBefore, err := w.ring.Tenant(t.Context(), leaving)
	must(t, err)
	done, err := Run(as(leaving), leaving, w.plan)
	must(t, err)
	w.wantLeft(t, leaving, 0, 0)
	w.wantLeft(t, staying, 12, 3)
	if got, err := w.bucket.ReadAll(as(staying), "dir/1"); err != nil || string(got) != "x" {
		t.Errorf("who stays reads %q, %v", got, err)
	}

	c := done.Certificate
	tables := []Table{{"visits", 3}, {"patients", 3}}
	if c.Tenant != leaving || c.Reason != "contract 4711 ended" || c.Purpose != "offboarding" || c.Request != "r-1" || c.Log != "audit.example.com/node-7" ||
		c.Keys.Before || !c.Keys.TriedInVain || c.Keys.Keyring != "main" || len(c.Keys.Destroyed) != 6 ||
		len(c.Databases) != 2 || c.Databases[1].Name != "app1.db" || c.Databases[0].Engine != "sqlite" || !reflect.DeepEqual(c.Databases[0].Tables, tables) ||
		len(c.Buckets) != 1 || c.Buckets[0].Label != "records" || c.Buckets[0].Objects != 3 || c.Buckets[0].Leftovers != nil {
		t.Errorf("%+v", c)
	}
	if c.Began.After(c.Keys.ShreddedAt) || c.Keys.ShreddedAt.After(c.Finished) {
		t.Errorf("%v, %v, %v", c.Began, c.Keys.ShreddedAt, c.Finished)
	}
	found := false
	for _, k := range c.Keys.Destroyed {
		found = found || k == Key{"data", keysBefore.DataKeyID()}
	}
	if !found {
		t.Errorf("the key that sealed is not among %v", c.Keys.Destroyed)
	}
	if stages[0] != Rehearsal || stages[len(stages)-1] != Objects {
		t.Errorf("%v", stages)
	}

	// The actor is the one in the trail, under the same pseudonym, and in the clear nowhere.
	byUID := map[string]string{}
	deleted := map[string]int64{}
	for e, err := range audit.Read(t.Context(), filepath.Join(w.dir, "audit"), nil) {
		must(t, err)
		if e.Code == audit.CodeOffboard || e.Code == audit.CodeBlobOffboard {
			byUID[e.Correlation] = e.Actor
			if e.Phase == audit.Outcome {
				deleted[e.Correlation] = e.Rows
			}
		}
	}
	for _, uid := range []string{c.Databases[0].Events, c.Databases[1].Events, c.Buckets[0].Events} {
		if byUID[uid] != c.Actor || !strings.HasPrefix(c.Actor, "log:") {
			t.Errorf("the certificate says %q, and the events %s say %q", c.Actor, uid, byUID[uid])
		}
	}
	if deleted[c.Databases[0].Events] != 6 || deleted[c.Buckets[0].Events] != 3 {
		t.Errorf("the trail counts %v", deleted)
	}
	must(t, w.log.Close())
	must(t, filepath.WalkDir(filepath.Join(w.dir, "audit"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(canary)) {
				t.Errorf("the actor is in %s", path)
			}
		}
		return err
	}))
	if bytes.Contains(done.Envelope, []byte(canary)) {
		t.Error("the actor is in the envelope")
	}
	payload, err := open(done.Envelope, PayloadType, anyKey{})
	must(t, err)
	if bytes.Contains(payload, []byte(canary)) {
		t.Errorf("the actor is in the certificate: %s", payload)
	}
}

type anyKey struct{}

func (anyKey) Verify(_, _ []byte) error { return nil }

// What can be refused is refused before the keys are destroyed: everything is as it was.
func TestWhatIsRefusedChangesNothing(t *testing.T) {
	h, err := NewKeyset()
	must(t, err)
	signer, _ := signerOf(t, h)
	for name, c := range map[string]struct {
		ctx    context.Context
		change func(w *world)
		says   string
	}{
		"nobody":          {ctx: context.Background(), says: "no access"},
		"somebody else":   {ctx: as(staying), says: "another tenant"},
		"no signer":       {change: func(w *world) { w.plan.Signer = nil }, says: "Signer"},
		"no reason":       {change: func(w *world) { w.plan.Reason = "" }, says: "Reason"},
		"two lines":       {change: func(w *world) { w.plan.Reason = "a\nb" }, says: "Reason"},
		"a long reason":   {change: func(w *world) { w.plan.Reason = strings.Repeat("x", MaxReasonLength+1) }, says: "Reason"},
		"no stores":       {change: func(w *world) { w.plan.Databases, w.plan.Buckets = nil, nil }, says: "no database"},
		"no plan":         {change: func(w *world) { w.plan = nil }, says: "Signer"},
		"no guard":        {change: func(w *world) { w.plan.Guard = storage.Guard{} }, says: "no keys"},
		"a nil database":  {change: func(w *world) { w.plan.Databases = append(w.plan.Databases, nil) }, says: "Databases[2]"},
		"a nil bucket":    {change: func(w *world) { w.plan.Buckets = append(w.plan.Buckets, Bucket{}) }, says: "Buckets[1]"},
		"no guarded one":  {change: func(w *world) { w.plan.Buckets[0].Bucket = w.inner }, says: "nothing was changed"},
		"no guarded db":   {change: func(w *world) { w.plan.Databases[1] = w.raws[1] }, says: "database 1"},
		"no pseudonyms":   {change: func(w *world) { w.plan.Guard.Audit = mute{} }, says: "Plan.Actor"},
		"a wrong schema":  {change: func(w *world) { w.raws[1].Exec(`ALTER TABLE visits RENAME TO gone`) }, says: "database 1"},
		"a closed one":    {change: func(w *world) { w.dbs[0].Close() }, says: "database 0"},
		"the log is away": {change: func(w *world) { w.log.Close() }, says: audit.ErrUnavailable.Error()},
		"the authorizer": {change: func(w *world) {
			g := w.guard
			g.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
				if a.Verb == tenant.Offboard {
					return errors.New("no")
				}
				return nil
			})
			w.plan.Buckets[0].Bucket, err = blobs.Wrap(w.inner, g, &blobs.Options{Label: "records", SealNames: true})
			must(t, err)
		}, says: "access denied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.plan.Signer = signer
			if c.change != nil {
				c.change(w)
			}
			ctx := c.ctx
			if ctx == nil {
				ctx = as(leaving)
			}
			if done, err := Run(ctx, leaving, w.plan); done != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if s, err := w.ring.StatusNow(t.Context(), leaving); err != nil || s != keys.StatusActive {
				t.Errorf("the tenant is %s, %v", s, err)
			}
			if name != "a wrong schema" {
				w.wantLeft(t, leaving, 12, 3)
			}
		})
	}
}

// mute records nowhere.
type mute struct{}

func (mute) Record(context.Context, *audit.Event) error { return nil }

// brokenSigner signs nothing.
type brokenSigner struct{}

func (brokenSigner) Sign([]byte) ([]byte, error) {
	return nil, errors.New("the token is not plugged in")
}

// An offboarding that is interrupted after the keys are gone is gone on with, and says so.
func TestAnInterruptedOffboardingGoesOn(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(as(leaving))
	w.plan.Rows = 2
	w.plan.Progress = func(p Progress) {
		if p.Stage == Rows && p.Store == 1 {
			cancel()
		}
	}
	if _, err := Run(ctx, leaving, w.plan); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "run it again") {
		t.Fatalf("%v", err)
	}
	w.plan.Progress = nil
	good := w.plan.Signer
	w.plan.Signer = brokenSigner{}
	if done, err := Run(as(leaving), leaving, w.plan); done != nil || err == nil || !strings.Contains(err.Error(), "not plugged in") {
		t.Errorf("%v", err)
	}
	w.plan.Signer, w.plan.Actor = good, "ticket 4711"
	w.wantLeft(t, leaving, 0, 0)
	done, err := Run(as(leaving), leaving, w.plan)
	must(t, err)
	if c := done.Certificate; !c.Keys.Before || c.Keys.TriedInVain || len(c.Keys.Destroyed) != 6 || c.Databases[0].Tables[0].Rows != 0 || c.Actor != "ticket 4711" {
		t.Errorf("%+v", c)
	}
	w.wantLeft(t, staying, 12, 3)
}
