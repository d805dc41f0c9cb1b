package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite", of a key store in a file

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// opening says what a command needs.
type opening int

const (
	looking  opening = iota // the keyring alone; nothing can be recorded, and so nothing done that has to be
	changing                // the audit trail too
	stopping                // the audit trail if that can be had: what stops access must not wait for it
)

// session is what the configuration names, opened.
type session struct {
	config  *config
	kek     keys.KEK
	sharing []*lazyKEK // of a router's providers, those whose tenants share a key
	store   keys.Store
	log     *audit.Log // nil where nothing can be recorded
	ring    *keys.Keyring
	guard   storage.Guard
	// unlogged is why there is no log for what stops access.
	unlogged error

	mu      sync.Mutex
	vaults  map[string]login // that were needed, by the provider's name
	closers []func() error
}

// unrecorded is the audit trail of commands that look: what would have to be recorded does not happen.
type unrecorded struct{}

func (unrecorded) Record(context.Context, *audit.Event) error {
	return fmt.Errorf("%w: no audit trail is open", audit.ErrUnavailable)
}

// open opens the session.
func (c *call) open(ctx context.Context, what opening) (*session, error) {
	cfg, err := readConfig(c.String("config"))
	if err != nil {
		return nil, err
	}
	s := &session{config: cfg}
	c.session = s
	s.kek = &lazyKEK{open: func(ctx context.Context) (keys.KEK, error) { return c.openKEK(ctx, s) }}
	if err := c.openStore(ctx, s); err != nil {
		return nil, err
	}
	recorder := audit.Recorder(unrecorded{})
	if what != looking {
		err := s.openLog()
		switch {
		case err == nil:
			recorder = s.log
		case what == changing:
			return nil, err
		}
		s.unlogged = err
	}
	if s.ring, err = keys.Open(ctx, s.kek, s.store, cfg.keyring(recorder)); err != nil {
		return nil, configf("keyring: %w", err)
	}
	s.closes(s.ring.Close)
	s.guard = storage.Guard{Keys: s.ring, Audit: recorder}
	return s, nil
}

func (c *config) keyring(recorder audit.Recorder) *keys.Options {
	return &keys.Options{Label: c.Keyring.Label, SuspendWithin: c.Keyring.SuspendWithin.Duration, Timeout: c.Keyring.Timeout.Duration, Audit: recorder, Actor: "keyctl"}
}

func (s *session) closes(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, f)
}

// close closes everything, the last that was opened first.
func (s *session) close() error {
	s.mu.Lock()
	closers := s.closers
	s.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (c *call) openKEK(ctx context.Context, s *session) (keys.KEK, error) {
	if s.config.KEK.Route != nil {
		return c.router(s)
	}
	return c.openProvider(ctx, s, s.config.KEK.providers()[0])
}

func (c *call) openStore(ctx context.Context, s *session) (err error) {
	cfg := s.config.Store
	if cfg.Files != nil {
		s.store, err = filestore.Open(s.config.in(cfg.Files.Dir), &filestore.Options{MustExist: true})
		return err
	}
	db, dialect, table, err := c.storeDB(s.config, "rw")
	if err != nil {
		return err
	}
	s.closes(db.Close)
	s.store, err = sqlstore.Open(ctx, db, dialect, &sqlstore.Options{Table: table})
	return err
}

// storeDB opens the database of the records. Mode is SQLite's: rw, or rwc to make the file.
func (t *tool) storeDB(c *config, mode string) (*sql.DB, dialect.Dialect, string, error) {
	if l := c.Store.SQLite; l != nil {
		q := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)"}, "_txlock": {"immediate"}}
		path := (&url.URL{Path: c.in(l.File)}).EscapedPath()
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path, RawQuery: q.Encode()}).String())
		return db, dialect.SQLite, l.Table, err
	}
	p := c.Store.PostgreSQL
	dsn, err := t.postgresURL(c, "store.postgresql", p.URL, p.Password)
	if err != nil {
		return nil, "", "", err
	}
	cc, err := pgx.ParseConfig(dsn)
	if err != nil { // it repeats the connection string
		return nil, "", "", configf("store.postgresql.url is not one that pgx can read")
	}
	if !p.InsecureAllowPlaintext {
		if err := requireTLS("store.postgresql", cc); err != nil {
			return nil, "", "", err
		}
	}
	return openConfig(cc), dialect.PostgreSQL, p.Table, nil
}

func openConfig(c *pgx.ConnConfig) *sql.DB { return stdlib.OpenDB(*c) }

// openLog opens the audit trail, which has to be there: one that a slip of the pen made anew would miss what came before.
func (s *session) openLog() (err error) {
	dir := s.config.in(s.config.Audit.Dir)
	if _, err := os.Stat(filepath.Join(dir, "log.json")); err != nil {
		return configf(`audit.dir: there is no audit trail in %s; "keyctl init" makes one: %w`, dir, err)
	}
	if s.log, err = audit.OpenLog(dir, nil); err != nil {
		return fmt.Errorf("audit.dir: only one keyctl at a time can use a trail: %w", err)
	}
	s.closes(s.log.Close)
	return nil
}
