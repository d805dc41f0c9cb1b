package sqldb_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

const leakyTable = `
	CREATE TYPE mood AS ENUM ('usual', 'rare');
	CREATE TABLE things (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, email text, amount numeric, mood mood, addr inet, doc jsonb, paths jsonb,
		tags text[], span int4range, words tsvector, PRIMARY KEY (tenant_id, id));
	CREATE INDEX by_email ON things (tenant_id, email);
	CREATE INDEX by_lower ON things (tenant_id, lower(email));
	CREATE INDEX by_amount ON things (tenant_id, amount);
	CREATE INDEX by_mood ON things (tenant_id, mood);
	CREATE INDEX by_addr ON things USING gist (addr inet_ops);
	CREATE INDEX by_doc ON things USING gin (doc);
	CREATE INDEX by_paths ON things USING gin (paths jsonb_path_ops);
	CREATE INDEX by_tags ON things USING gin (tags);
	CREATE INDEX by_span ON things USING gist (span);
	CREATE INDEX by_words ON things USING gin (words);
	CREATE TABLE open_to_all (id bigint PRIMARY KEY, amount numeric);
	CREATE INDEX by_open_amount ON open_to_all (amount);
	INSERT INTO things SELECT 'clinic', i, i || '@example.org', i, CASE WHEN i = 7 THEN 'rare' ELSE 'usual' END::mood, '10.0.0.0'::inet + i,
		jsonb_build_object('k' || i, 1), jsonb_build_object('a', i), ARRAY['t' || i], int4range(i, i + 1), ('w' || i)::tsvector FROM generate_series(1, 20000) i;
	ANALYZE things`

// TestLeakproof holds what [sqldb.Schema.DDL] prints, and what Open says, against the plans of PostgreSQL with row-level security.
func TestLeakproof(t *testing.T) {
	schema := sqldb.Schema{"things": {}, "open_to_all": {Shared: true}}
	raw, dsn, super := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, leakyTable)
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw, ddl)
	marks, err := schema.DDL(dialect.PostgreSQL, &sqldb.Options{Leakproof: true})
	if err != nil || !strings.HasPrefix(marks, ddl) {
		t.Fatalf("%v: what marks functions does not follow the rest: %s", err, marks)
	}
	marks = strings.TrimPrefix(marks, ddl)
	admin, err := sql.Open("pgx", super)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	uncomment := regexp.MustCompile(`(?m)^-- (ALTER FUNCTION .*;)$`)

	proven := map[string]string{
		"by_amount": `amount = 4711`, "by_mood": `mood = 'rare'`, "by_addr": `addr <<= '10.0.0.7/32'`, "by_doc": `doc ? 'k7'`,
	}
	kept := map[string]string{
		"by_doc": `doc @> '{"k7": 1}'`, "by_paths": `paths @> '{"a": 7}'`, "by_tags": `tags @> ARRAY['t7']`, "by_span": `span @> 7`, "by_words": `words @@ 'w7'`,
	}
	for _, stage := range []struct {
		what         string
		marks        string
		proven, kept bool
		said         string
	}{
		{"as it is", "", false, false, "things.by_amount (amount), things.by_doc (doc), things.by_lower (lower(email)), things.by_mood (mood), " +
			"things.by_paths (paths), things.by_span (span), things.by_tags (tags), things.by_words (words)"},
		{"proven", marks, true, false, "things.by_lower (lower(email)), things.by_paths (paths), things.by_span (span), things.by_tags (tags), things.by_words (words)"},
		{"all", uncomment.ReplaceAllString(marks, "$1"), true, true, "things.by_lower (lower(email))"},
	} {
		mustExec(t, admin, stage.marks)
		used := func(condition, index string) bool {
			return strings.Contains(explained(t, dsn, schema, condition), `"`+index+`"`)
		}
		if !used(`email = '7@example.org'`, "by_email") {
			t.Errorf("%s: equality of a text uses no index", stage.what)
		}
		for index, condition := range proven {
			if used(condition, index) != stage.proven {
				t.Errorf("%s: %s uses %s: %v", stage.what, condition, index, !stage.proven)
			}
		}
		for index, condition := range kept {
			if used(condition, index) != stage.kept {
				t.Errorf("%s: %s uses %s: %v", stage.what, condition, index, !stage.kept)
			}
		}
		if got := saidAtOpening(t, dsn, schema, &sqldb.Options{}); len(got) != 1 || !strings.Contains(got[0], "row-level security") || !strings.HasSuffix(got[0], `indexes="`+stage.said+`"`) {
			t.Errorf("%s: opening says %q", stage.what, got)
		}
	}
	mustExec(t, raw, `DROP INDEX by_lower`)
	if got := saidAtOpening(t, dsn, schema, &sqldb.Options{}); len(got) != 0 {
		t.Errorf("opening says %q of indexes that all can be used", got)
	}
	mustExec(t, raw, `CREATE INDEX by_text ON things ((amount::text))`)
	if got := saidAtOpening(t, dsn, schema, &sqldb.Options{}); len(got) != 1 || !strings.Contains(got[0], "by_text ((amount::text))") {
		t.Errorf("opening says %q", got)
	}
	if got := saidAtOpening(t, dsn, schema, &sqldb.Options{InsecureWithoutRLS: true}); len(got) != 0 {
		t.Errorf("opening without row-level security says %q", got)
	}
}

// saidAtOpening returns the lines that are logged.
func saidAtOpening(t *testing.T, dsn string, schema sqldb.Schema, o *sqldb.Options) []string {
	t.Helper()
	var b bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&b, nil))
	db, err := sqldb.Open(context.Background(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: &recorder{}}, o)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	return strings.FieldsFunc(b.String(), func(r rune) bool { return r == '\n' })
}

// explained returns PostgreSQL's plan of a guarded statement with a condition.
func explained(t *testing.T, dsn string, schema sqldb.Schema, condition string) (plan string) {
	t.Helper()
	o := &sqldb.Options{Logger: slog.New(slog.DiscardHandler)}
	db, err := sqldb.Open(context.Background(), dsn, schema, storage.Guard{Keys: newRing(t, tenantA), Audit: &recorder{}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	explaining, err := sqldb.Explaining(context.Background(), db, func(_, p string) { plan = p })
	if err != nil {
		t.Fatal(err)
	}
	defer explaining.Close()
	if _, err := explaining.ExecContext(as(tenantA), `SELECT id FROM things WHERE `+condition); !errors.Is(err, sqldb.ErrExplained) {
		t.Fatalf("%s: %v", condition, err)
	}
	return plan
}
