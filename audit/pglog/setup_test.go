package pglog_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestMain is also the process that TestSealerKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(sealDir); dir != "" {
		sealUntilKilled(dir)
	}
	testenv.Main(m)
}

// trail is a database with a trail's table, and its key.
type trail struct {
	recorder, sealer, super, owner string // URLs
	roles                          pglog.Roles
	table                          string
	secret                         string
	signer                         note.Signer
	db                             *testenv.Database
}

const testTable = pglog.DefaultTable

func newTrail(t testing.TB) *trail {
	t.Helper()
	db := testenv.Postgres(t).NewDatabase(t)
	tr := &trail{recorder: db.AppURL, super: db.SuperURL, owner: db.OwnerURL, db: db}
	role, password := db.Name+"_seal", rand.Text()
	mustExec(t, db.SuperURL, `CREATE ROLE `+role+` LOGIN PASSWORD '`+password+`'`, `GRANT CONNECT ON DATABASE `+db.Name+` TO `+role)
	t.Cleanup(func() { mustExec(t, db.SuperURL, `DROP OWNED BY `+role, `DROP ROLE `+role) })
	u, err := url.Parse(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	tr.sealer = u.String()
	tr.roles = pglog.Roles{Recorder: db.App, Sealer: role}
	tr.make(t, testTable)
	tr.newKey(t)
	return tr
}

// newKey gives the trail another key.
func (tr *trail) newKey(t testing.TB) {
	t.Helper()
	var err error
	if tr.secret, _, err = note.GenerateKey(rand.Reader, "example.com/trail"); err != nil {
		t.Fatal(err)
	}
	if tr.signer, err = note.NewSigner(tr.secret); err != nil {
		t.Fatal(err)
	}
}

// make makes the trail's table.
func (tr *trail) make(t testing.TB, table string) {
	t.Helper()
	statements, err := pglog.DDL(table, tr.roles)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tr.owner, statements)
	tr.table = table
}

// another returns a trail with a table of its own in the same database.
func (tr *trail) another(t testing.TB) *trail {
	t.Helper()
	other := *tr
	other.make(t, fmt.Sprintf("public.trail_%d", tables.Add(1)))
	return &other
}

var tables atomic.Int64

func parse(t testing.TB, url string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), parse(t, url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func mustExec(t testing.TB, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), parse(t, url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (tr *trail) open(t testing.TB, url string, timeout time.Duration) *audit.Stream {
	t.Helper()
	s, err := pglog.Open(t.Context(), parse(t, url), pglog.Options{Table: tr.table, StreamOptions: audit.StreamOptions{Signer: tr.signer, Service: "clinic", Timeout: timeout}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// lines returns the events in the table, in the order of streams and numbers.
func (tr *trail) lines(t testing.TB) [][]byte {
	t.Helper()
	rows, err := connect(t, tr.super).Query(context.Background(), `SELECT line FROM `+tr.table+` ORDER BY stream, number`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func (tr *trail) count(t testing.TB, where string) (n int) {
	t.Helper()
	if err := connect(t, tr.super).QueryRow(context.Background(), `SELECT count(*) FROM `+tr.table+` WHERE `+where).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func openLog(t testing.TB, dir string) *audit.Log {
	t.Helper()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// seal takes what is in the table into the log in dir, and returns what Verify says of that.
func (tr *trail) seal(t testing.TB, dir string) (pglog.Sealed, *audit.Report) {
	t.Helper()
	l := openLog(t, dir)
	s, err := pglog.OpenSealer(context.Background(), parse(t, tr.sealer), l, pglog.SealOptions{Table: tr.table, Signers: []note.Signer{tr.signer}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sealed, err := s.Round(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed, report
}

func read(t testing.TB, dir string, filter *audit.Filter) (list []audit.Entry) {
	t.Helper()
	for e, err := range audit.Read(context.Background(), dir, filter) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// requests counts the queries in a log by their request.
func requests(t testing.TB, dir string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for _, e := range read(t, dir, &audit.Filter{Code: audit.CodeQuery}) {
		seen[e.Request]++
	}
	return seen
}

func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "log") }

func event(id, request string) *audit.Event {
	return &audit.Event{Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success, Tenant: tenant.MustParse(id), Actor: "dr.okafor@example.org",
		Request: request, Store: "postgresql", Name: "clinic", Tables: []string{"patients"}, Rows: -1, Bytes: -1}
}

func record(t testing.TB, r audit.Recorder, requests ...string) {
	t.Helper()
	for _, request := range requests {
		if err := r.Record(t.Context(), event("acme", request)); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", request, err))
		}
	}
}
