package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func exec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestSeal goes from nothing to a sealed log, and through what an operator sees when rows were taken away.
func TestSeal(t *testing.T) {
	db := testenv.Postgres(t).NewDatabase(t)
	key, dir := filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "log")
	if out, _ := try(t, 0, "stream-key", "-name", "example.com/trail", key); !strings.Contains(out, "example.com/trail+") {
		t.Errorf("stream-key says %q", out)
	}
	try(t, 2, "stream-key", "-name", "example.com/trail", key) // it is there
	statements, _ := try(t, 0, "ddl", "-recorder", db.App, "-sealer", db.Owner+"_none")
	exec(t, db.SuperURL, `CREATE ROLE `+db.Owner+`_none; GRANT `+db.Owner+`_none TO `+db.Owner)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), db.SuperURL)
		if err == nil {
			_, err = conn.Exec(context.Background(), `DROP OWNED BY `+db.Owner+`_none; DROP ROLE `+db.Owner+`_none`, pgx.QueryExecModeSimpleProtocol)
			err = errors.Join(err, conn.Close(context.Background()))
		}
		if err != nil {
			t.Error(err)
		}
	})
	exec(t, db.OwnerURL, statements)

	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	trail, err := pglog.Open(t.Context(), config, pglog.Options{StreamOptions: audit.StreamOptions{Signer: signer, Timeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	record := func(n int) {
		t.Helper()
		for i := range n {
			if err := trail.Record(t.Context(), &audit.Event{Code: audit.CodeQuery, Phase: audit.Single, Status: audit.Success,
				Tenant: tenant.MustParse("acme"), Request: fmt.Sprint(i), Store: "sqlite", Rows: -1, Bytes: -1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(5)
	args := []string{"seal", "-stream-key", key, "-db", db.OwnerURL, "-origin", "example.com/log", "-once", dir}
	if out, errs := try(t, 0, args...); out != "sealed  6 events\n" || errs != "" {
		t.Errorf("seal says %q, %q", out, errs)
	}
	record(5)
	exec(t, db.OwnerURL, `DELETE FROM strongroom_audit WHERE number IN (8, 9)`)
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
	if out, errs := try(t, 1, args...); out != "sealed  4 events\n" || !strings.Contains(errs, "MISSING: 2 events from number 8 on of stream ") {
		t.Errorf("seal says %q, %q", out, errs)
	}
	try(t, 0, args...)
	if out, _ := try(t, 0, "verify", dir); !strings.Contains(out, "MISSING: 2 events from number 8 on") || !strings.Contains(out, "1, of which 0 have not ended") {
		t.Errorf("verify says\n%s", out)
	}
	if out, _ := try(t, 0, "query", "-code", "stream.", dir); strings.Count(out, "stream.") != 3 {
		t.Errorf("query says\n%s", out)
	}

	// Until it is interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() {
		ended <- run(ctx, []string{"seal", "-stream-key", key, "-db", db.OwnerURL, dir}, &out, &errs)
	}()
	cancel()
	if got := <-ended; got != 0 && got != 2 { // it may not have connected yet
		t.Errorf("exit status %d\n%s%s", got, &out, &errs)
	}

	other := filepath.Join(t.TempDir(), "other")
	if _, errs := try(t, 2, "seal", "-stream-key", key, "-db", db.OwnerURL, "-once", other); !strings.Contains(errs, "two logs would each have a part") {
		t.Errorf("another log: %s", errs)
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, errs := try(t, 2, args...); !strings.Contains(errs, "chmod 600") {
		t.Errorf("a key that others can read: %s", errs)
	}
}

// TestSealUsage: what is wrong is said, without what may be a secret.
func TestSealUsage(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	try(t, 0, "stream-key", "-name", "example.com/trail", key)
	dir := filepath.Join(t.TempDir(), "log")
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"seal", dir}, {"seal", "-stream-key", key}, {"seal", "-stream-key", wrong, dir}, {"seal", "-stream-key", key + "x", dir},
		{"seal", "-stream-key", key, "-db", "postgres://u:s3cret@[::1", dir}, {"seal", "-stream-key", key, "-db", "postgres://u:s3cret@127.0.0.1:1/x", dir},
		{"seal", "-stream-key", key, "-table", "a.b.c", dir}, {"ddl"}, {"ddl", "-recorder", "a", "-sealer", "a"}, {"ddl", "-recorder", "a", "-sealer", "b", "c"},
		{"stream-key", key}, {"stream-key", "-name", "a b", wrong + "2"}, {"stream-key", "-name", "a"},
	} {
		if _, errs := try(t, 2, args...); errs == "" || strings.Contains(errs, "s3cret") {
			t.Errorf("auditctl %q says %q", args, errs)
		}
	}
	if out, _ := try(t, 0, "ddl", "-recorder", `a"; DROP TABLE x; --`, "-sealer", "b", "-table", "s.t"); !strings.Contains(out, `"a""; DROP TABLE x; --"`) || !strings.Contains(out, `GRANT USAGE ON SCHEMA "s"`) {
		t.Errorf("ddl says\n%s", out)
	}
}
