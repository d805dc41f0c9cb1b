package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	notes "golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

func auditPGRows() []Row {
	var rows []Row
	for _, n := range []int{1, 16, 128} {
		rows = append(rows, Row{fmt.Sprintf("audit.pg.%d", n), "one INSERT of a row with the same bytes for each event",
			func() (*Pair, error) { return inPostgres(n) }})
	}
	return rows
}

// inPostgres records events from n goroutines into a table; the alternative inserts a row of the same length for each, on as
// many connections. The server is on this machine and does not sync its disk: see testenv.
func inPostgres(n int) (*Pair, error) {
	record, insert, cleanup, err := pgTrail(n)
	if err != nil {
		return nil, err
	}
	return &Pair{Ours: parallel(n, record), Peer: parallel(n, insert), Cleanup: cleanup}, nil
}

// pgTrail opens a trail in a table, and returns how an event is recorded there and how n connections insert a plain row of its
// length.
func pgTrail(n int) (record, insert func() error, cleanup func(), err error) {
	t := &bare{}
	defer func() {
		if f, ok := recover().(failure); ok {
			err = errors.New(string(f))
		}
	}()
	database := testenv.Postgres(t).NewDatabase(t)
	ctx := context.Background()
	e, cleanKeys, err := query()
	if err != nil {
		return nil, nil, nil, err
	}
	statements, err := pglog.DDL("", pglog.Roles{Recorder: database.App, Sealer: database.Owner + "_seal"})
	if err != nil {
		return nil, nil, nil, err
	}
	// The sealer's role is not used.
	super, err := pgx.Connect(ctx, database.SuperURL)
	if err != nil {
		return nil, nil, nil, err
	}
	defer super.Close(ctx)
	for _, s := range []string{
		`CREATE ROLE ` + database.Owner + `_seal`, statements, `DROP OWNED BY ` + database.Owner + `_seal`, `DROP ROLE ` + database.Owner + `_seal`,
		`CREATE TABLE plain (uid uuid PRIMARY KEY, line bytea NOT NULL)`, `GRANT INSERT ON plain TO ` + database.App,
	} {
		if _, err := super.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	secret, _, err := notes.GenerateKey(rand.Reader, "bench")
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := notes.NewSigner(secret)
	if err != nil {
		return nil, nil, nil, err
	}
	config, err := pgx.ParseConfig(database.AppURL)
	if err != nil {
		return nil, nil, nil, err
	}
	trail, err := pglog.Open(ctx, config, pglog.Options{StreamOptions: audit.StreamOptions{Signer: signer, Timeout: time.Minute}})
	if err != nil {
		return nil, nil, nil, err
	}
	if err := trail.Record(ctx, e); err != nil {
		return nil, nil, nil, err
	}
	var line []byte
	if err := super.QueryRow(ctx, `SELECT line FROM strongroom_audit WHERE number = 2`).Scan(&line); err != nil {
		return nil, nil, nil, err
	}
	db, err := sql.Open("pgx", database.AppURL)
	if err != nil {
		return nil, nil, nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	insert = func() error {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, `INSERT INTO plain (uid, line) VALUES ($1, $2)`, id.String(), line)
		return err
	}
	record = func() error { return trail.Record(ctx, e) }
	cleanup = func() {
		trail.Close()
		db.Close()
		cleanKeys()
	}
	return record, insert, cleanup, nil
}
