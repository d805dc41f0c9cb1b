package pglog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/audit/recordertest"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

// TestRecorder runs the conformance suite of recorders on the table. That the log which a sealer makes of a stream passes it
// too is shown in package audit.
func TestRecorder(t *testing.T) {
	database := newTrail(t)
	recordertest.Run(t, func(t *testing.T) *recordertest.Target {
		tr := database.another(t)
		s := tr.open(t, tr.recorder, time.Minute)
		return &recordertest.Target{
			Recorder: s, Close: s.Close, Lines: func(t *testing.T) [][]byte { return tr.lines(t) },
			Impatient: func(t *testing.T) *recordertest.Target {
				r, through := testenv.NewRelay(t, tr.recorder)
				s := tr.open(t, through, time.Second)
				return &recordertest.Target{
					Recorder: s, Close: s.Close, Lines: func(t *testing.T) [][]byte { return tr.lines(t) },
					Break: func() { r.Lose("replies") }, Mend: r.Cut,
				}
			},
		}
	})
}

// TestRoles: a recorder's role inserts and does nothing else, and a sealer's reads, deletes and marks.
func TestRoles(t *testing.T) {
	tr := newTrail(t)
	record(t, tr.open(t, tr.recorder, time.Minute), "one")
	const values = ` (uid, stream, number, batch, line, key, mac) VALUES (gen_random_uuid(), gen_random_uuid(), 1, 0, 'line', 7, decode(repeat('00', 32), 'hex'))`
	for _, c := range []struct {
		statement        string
		recorder, sealer bool
	}{
		{`INSERT INTO ` + testTable + values, true, false},
		{`INSERT INTO ` + testTable + values + ` RETURNING line`, false, false},
		{`INSERT INTO ` + testTable + values + ` ON CONFLICT (uid) DO UPDATE SET line = 'other'`, false, false},
		{`INSERT INTO ` + testTable + strings.Replace(strings.Replace(values, "mac)", "mac, refused)", 1), "'hex'))", "'hex'), true)", 1), false, false},
		{`SELECT line FROM ` + testTable, false, true},
		{`SELECT count(*) FROM ` + testTable, false, true},
		{`COPY ` + testTable + ` TO STDOUT`, false, true},
		{`UPDATE ` + testTable + ` SET line = 'other'`, false, false},
		{`UPDATE ` + testTable + ` SET refused = true`, false, true},
		{`TRUNCATE ` + testTable, false, false},
		{`ALTER TABLE ` + testTable + ` DISABLE TRIGGER ALL`, false, false},
		{`DROP TABLE ` + testTable, false, false},
		{`LOCK TABLE ` + testTable + ` IN ACCESS EXCLUSIVE MODE`, false, true},
		{`DELETE FROM ` + testTable, false, true},
		{`SELECT * FROM ` + testTable + `_sealer`, false, true},
		{`INSERT INTO ` + testTable + `_sealer (verifier) VALUES ('x')`, false, true},
		{`DELETE FROM ` + testTable + `_sealer`, false, false},
		{`UPDATE ` + testTable + `_sealer SET verifier = 'x'`, false, false},
	} {
		for role, u := range map[string]string{"recorder": tr.recorder, "sealer": tr.sealer} {
			_, err := connect(t, u).Exec(t.Context(), `BEGIN; `+c.statement+`; ROLLBACK`)
			if want := map[string]bool{"recorder": c.recorder, "sealer": c.sealer}[role]; (err == nil) != want {
				t.Errorf("as %s, %s: %v, want success %v", role, c.statement, err, want)
			}
		}
	}
}

// TestOpenRefuses what would not be safe, or not work, and says what to do.
func TestOpenRefuses(t *testing.T) {
	tr := newTrail(t)
	refused := func(t *testing.T, u, want string) {
		t.Helper()
		s, err := pglog.Open(t.Context(), parse(t, u), pglog.Options{StreamOptions: audit.StreamOptions{Signer: tr.signer, Timeout: time.Minute}})
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, audit.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one with %q", err, want)
		}
		if password, _ := parse(t, u).Config.Password, 0; err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	refused(t, tr.super, "more rights than a recorder may have (SELECT, UPDATE, DELETE, TRUNCATE, TRIGGER)")
	refused(t, tr.sealer, "may not insert")
	app := parse(t, tr.recorder).User
	mustExec(t, tr.super, `GRANT SELECT (stream) ON `+testTable+` TO `+app)
	refused(t, tr.recorder, "(SELECT)")
	mustExec(t, tr.super, `REVOKE SELECT (stream) ON `+testTable+` FROM `+app, `GRANT DELETE ON `+testTable+` TO PUBLIC`)
	refused(t, tr.recorder, "(DELETE)")
	mustExec(t, tr.super, `REVOKE ALL ON `+testTable+` FROM PUBLIC`, `ALTER TABLE `+testTable+` SET UNLOGGED`)
	refused(t, tr.recorder, "not as pglog.DDL makes it") // it is empty after a crash
	mustExec(t, tr.super, `ALTER TABLE `+testTable+` SET LOGGED`, `ALTER TABLE `+testTable+` DROP CONSTRAINT `+testTable+`_number`)
	refused(t, tr.recorder, "not as pglog.DDL makes it")
	mustExec(t, tr.super, `ALTER TABLE `+testTable+` RENAME TO elsewhere`)
	refused(t, tr.recorder, "the table is missing")
	refused(t, strings.Replace(tr.recorder, ":"+parse(t, tr.recorder).Password+"@", ":wrong-password@", 1), "28P01")
}

// TestCommitsAreSynchronous: whoever sets that commits need not be durable, a recorder's are; and where they are set to wait
// for more, they do.
func TestCommitsAreSynchronous(t *testing.T) {
	tr := newTrail(t)
	// A deferred trigger sees what the commit will see.
	mustExec(t, tr.super, `CREATE TABLE seen (setting text)`,
		`CREATE FUNCTION note_setting() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$`,
		`CREATE CONSTRAINT TRIGGER note_setting AFTER INSERT ON `+testTable+` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_setting()`)
	super := connect(t, tr.super)
	for set, want := range map[string]string{"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply"} {
		mustExec(t, tr.super, `ALTER ROLE `+parse(t, tr.recorder).User+` SET synchronous_commit = `+set, `TRUNCATE seen`)
		s := tr.open(t, tr.recorder, time.Minute)
		record(t, s, "x", "y")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var rows, as int
		if err := super.QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE setting = $1) FROM seen`, want).Scan(&rows, &as); err != nil {
			t.Fatal(err)
		}
		if rows != 4 || as != 4 {
			t.Errorf("set to %s: %d of %d rows were committed with %s", set, as, rows, want)
		}
	}
}

// TestRowsThatDoNotArrive: a trigger or rule that keeps rows out, or a policy, is no acknowledgement.
func TestRowsThatDoNotArrive(t *testing.T) {
	database := newTrail(t)
	mustExec(t, database.super, `CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.number > 1 THEN RETURN NULL; END IF; RETURN NEW; END $$`)
	for what, statement := range map[string]string{
		"trigger": `CREATE TRIGGER swallow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION swallow()`,
		"rule":    `CREATE RULE swallow AS ON INSERT TO {table} WHERE NEW.number > 1 DO INSTEAD NOTHING`,
		"policy":  `ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY first ON {table} FOR INSERT WITH CHECK (number = 1)`,
	} {
		t.Run(what, func(t *testing.T) {
			tr := database.another(t)
			mustExec(t, tr.super, strings.ReplaceAll(statement, "{table}", tr.table))
			s := tr.open(t, tr.recorder, time.Second)
			if err := s.Record(t.Context(), event("acme", "x")); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("Record: %v", err)
			}
			if err := s.Err(); !errors.Is(err, audit.ErrUnavailable) || strings.Contains(err.Error(), "acme") {
				t.Errorf("Err: %v", err)
			}
		})
	}
}

// TestBehindAPooler: a session that others of the role had before may have a temporary table of the trail's name, which would
// come before it.
func TestBehindAPooler(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	pooler := tr.db.PgBouncer(t)
	s := tr.open(t, pooler, time.Minute)
	record(t, s, "one")
	conns := []*pgx.Conn{connect(t, pooler), connect(t, pooler)} // the pooler has two sessions
	for _, do := range []string{`BEGIN`, `CREATE TEMP TABLE ` + testTable + ` (uid uuid, stream uuid, number bigint, batch bigint, line bytea, key bigint, mac bytea)`, `COMMIT`} {
		for _, conn := range conns {
			if _, err := conn.Exec(t.Context(), do, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
	}
	record(t, s, "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tr.seal(t, dir)
	if seen := requests(t, dir); seen["one"] != 1 || seen["two"] != 1 {
		t.Errorf("the log has %v", seen)
	}
}

// TestTakenNumber: somebody who may insert and knows the stream puts a row where the recorder's next belongs.
func TestTakenNumber(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder, time.Minute)
	record(t, s, "one")
	mustExec(t, tr.super, `INSERT INTO `+testTable+` SELECT gen_random_uuid(), stream, 3, 2, line, key, mac FROM `+testTable+` WHERE number = 2`)
	record(t, s, "two")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sealed, report := tr.seal(t, dir)
	if sealed.Refused != 1 || sealed.Events != 5 || len(sealed.Gaps) != 0 || report.Refusals != 1 || report.Streams != 2 {
		t.Errorf("%+v\n%s", sealed, report)
	}
	if seen := requests(t, dir); seen["one"] != 1 || seen["two"] != 1 {
		t.Errorf("the log has %v", seen)
	}
	if n, m := tr.count(t, "true"), tr.count(t, "refused"); n != 1 || m != 1 {
		t.Errorf("%d rows are left, %d of them refused, want the forged one", n, m)
	}
	if sealed, _ := tr.seal(t, dir); sealed.Refused != 0 {
		t.Errorf("it is refused again: %+v", sealed)
	}
}

// TestStandbyIsNoPlace: a server that only reads cannot be recorded to, and says why.
func TestStandbyIsNoPlace(t *testing.T) {
	tr := newTrail(t)
	s := tr.open(t, tr.recorder, time.Second)
	mustExec(t, tr.super, `ALTER ROLE `+parse(t, tr.recorder).User+` SET default_transaction_read_only = on`,
		`SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'strongroom-audit' AND datname = current_database()`)
	if err := s.Record(t.Context(), event("acme", "x")); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Record: %v", err)
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "target_session_attrs") {
		t.Errorf("Err: %v", err)
	}
	mustExec(t, tr.super, `ALTER ROLE `+parse(t, tr.recorder).User+` RESET default_transaction_read_only`,
		`SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'strongroom-audit' AND datname = current_database()`)
	for s.Err() != nil && context.Cause(t.Context()) == nil {
		time.Sleep(10 * time.Millisecond)
	}
	record(t, s, "y")
}
