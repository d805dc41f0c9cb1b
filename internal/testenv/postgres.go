package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

const postgresPort = "5432/tcp"

// PostgresServer is a running PostgreSQL.
type PostgresServer struct {
	// Major is its major version, such as 17.
	Major int

	address  string // host:port
	inside   string // the address among containers, without the port
	password string // of the superuser, postgres
}

// Database is a database of one test, dropped with its roles and whatever is connected when the test ends. The URLs
// have the form postgres://user:password@host:port/name?sslmode=disable.
type Database struct {
	Name  string
	Owner string // a login role, no superuser, that owns the database and its schema public
	App   string // a login role that owns nothing and is subject to row-level security

	server *PostgresServer

	OwnerURL string
	AppURL   string // reads and writes all tables and uses all sequences that Owner makes in public
	SuperURL string // the superuser, in this database
}

var postgres Shared[*PostgresServer]

// Postgres returns the process's PostgreSQL server. It skips the test where there is none; see the package comment.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return postgres.Get(t, startPostgres)
}

// postgresImage is the variable that names the image of the version that STRONGROOM_POSTGRES asks for.
func postgresImage(version string) (string, error) {
	switch version {
	case "", "17":
		return "STRONGROOM_POSTGRES_IMAGE", nil
	case "15":
		return "STRONGROOM_POSTGRES15_IMAGE", nil
	}
	return "", fmt.Errorf("testenv: STRONGROOM_POSTGRES is %q; set it to 15 or 17", version)
}

func startPostgres(ctx context.Context) (*PostgresServer, error) {
	version := os.Getenv("STRONGROOM_POSTGRES")
	variable, err := postgresImage(version)
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{password: rand.Text()}
	c, err := Start(ctx, wire.Spec{
		Variable: variable, Port: postgresPort,
		Env: map[string]string{"POSTGRES_PASSWORD": s.password},
		// Nothing has to outlive the container, and tests open many small pools.
		Cmd:   []string{"postgres", "-c", "fsync=off", "-c", "max_connections=300"},
		Ready: wire.Ready{SQL: postgresURL(anyHost, "postgres", s.password, "postgres")},
	})
	if err != nil {
		return nil, err
	}
	s.address, s.inside = c.Address, c.Inside
	if s.Major, err = majorVersion(ctx, postgresURL(s.address, "postgres", s.password, "postgres")); err != nil {
		return nil, err
	}
	if version != "" && version != strconv.Itoa(s.Major) {
		return nil, fmt.Errorf("testenv: STRONGROOM_POSTGRES is %s, and the image that %s names has PostgreSQL %d", version, variable, s.Major)
	}
	return s, nil
}

func majorVersion(ctx context.Context, url string) (int, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("testenv: connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var version int
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return 0, fmt.Errorf("testenv: read PostgreSQL's version: %w", err)
	}
	return version / 10000, nil
}

func postgresURL(address, user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: address, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// NewDatabase makes an empty database with two roles and fails the test if it cannot. Other tests' roles cannot
// connect to it.
func (s *PostgresServer) NewDatabase(t testing.TB) *Database {
	t.Helper()
	name := UniqueName("db")
	db := &Database{server: s, Name: name, Owner: name + "_owner", App: name + "_app"}
	ownerPassword, appPassword := rand.Text(), rand.Text()
	db.OwnerURL = postgresURL(s.address, db.Owner, ownerPassword, name)
	db.AppURL = postgresURL(s.address, db.App, appPassword, name)
	db.SuperURL = postgresURL(s.address, "postgres", s.password, name)
	serverURL := postgresURL(s.address, "postgres", s.password, "postgres")

	id := func(name string) string { return pgx.Identifier{name}.Sanitize() }
	const login = ` LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD `
	ctx, cancel := context.WithTimeout(t.Context(), opTimeout)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := CleanupContext()
		defer cancel()
		// PostgreSQL gives the sessions that it ends five seconds to go, and else refuses.
		if err := Poll(ctx, func(ctx context.Context) error {
			return execAll(ctx, serverURL,
				`DROP DATABASE IF EXISTS `+id(db.Name)+` WITH (FORCE)`,
				`DROP ROLE IF EXISTS `+id(db.Owner)+`, `+id(db.App))
		}); err != nil {
			t.Errorf("testenv: drop database %s: %v", db.Name, err)
		}
	})
	err := execAll(ctx, serverURL,
		`CREATE ROLE `+id(db.Owner)+login+`'`+ownerPassword+`'`, // rand.Text is letters and digits
		`CREATE ROLE `+id(db.App)+login+`'`+appPassword+`'`,
		`CREATE DATABASE `+id(db.Name)+` OWNER `+id(db.Owner)+` TEMPLATE template0 STRATEGY FILE_COPY`, // three times as fast where nothing is synced
		`REVOKE CONNECT ON DATABASE `+id(db.Name)+` FROM PUBLIC`,
		`GRANT CONNECT ON DATABASE `+id(db.Name)+` TO `+id(db.App),
	)
	if err == nil {
		defaults := `ALTER DEFAULT PRIVILEGES FOR ROLE ` + id(db.Owner) + ` IN SCHEMA public GRANT `
		err = execAll(ctx, db.SuperURL,
			`ALTER SCHEMA public OWNER TO `+id(db.Owner),
			`GRANT USAGE ON SCHEMA public TO `+id(db.App),
			defaults+`SELECT, INSERT, UPDATE, DELETE ON TABLES TO `+id(db.App),
			defaults+`USAGE ON SEQUENCES TO `+id(db.App),
		)
	}
	if err != nil {
		t.Fatalf("testenv: make database %s: %v", db.Name, err)
	}
	return db
}

// execAll runs statements one by one, outside a transaction, on a connection of its own.
func execAll(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
