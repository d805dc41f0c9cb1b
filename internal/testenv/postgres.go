package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx", by which the start is awaited
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const postgresPort = "5432/tcp"

// PostgresServer is a running PostgreSQL.
type PostgresServer struct {
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

var postgres shared[*PostgresServer]

// Postgres returns the process's PostgreSQL server. It skips the test where there is none; see the package comment.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return postgres.get(t, startPostgres)
}

func startPostgres(ctx context.Context) (*PostgresServer, error) {
	s := &PostgresServer{password: rand.Text()}
	ready := wait.ForSQL(postgresPort, "pgx", func(host string, port network.Port) string {
		return postgresURL(host+":"+port.Port(), "postgres", s.password, "postgres")
	}).WithStartupTimeout(startTimeout).WithPollInterval(pollInterval)
	address, container, err := runContainer(ctx, "STRONGROOM_POSTGRES_IMAGE", postgresPort, ready,
		testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": s.password}),
		// Nothing has to outlive the container, and tests open many small pools.
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "max_connections=300"))
	if err != nil {
		return nil, err
	}
	s.address = address
	if s.inside, err = container.ContainerIP(ctx); err != nil {
		return nil, fmt.Errorf("testenv: find PostgreSQL's address among containers: %w", err)
	}
	return s, nil
}

func postgresURL(address, user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: address, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

// NewDatabase makes an empty database with two roles and fails the test if it cannot. Other tests' roles cannot
// connect to it.
func (s *PostgresServer) NewDatabase(t testing.TB) *Database {
	t.Helper()
	name := uniqueName("db")
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
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := execAll(ctx, serverURL,
			`DROP DATABASE IF EXISTS `+id(db.Name)+` WITH (FORCE)`,
			`DROP ROLE IF EXISTS `+id(db.Owner)+`, `+id(db.App),
		); err != nil {
			t.Errorf("testenv: drop database %s: %v", db.Name, err)
		}
	})
	err := execAll(ctx, serverURL,
		`CREATE ROLE `+id(db.Owner)+login+`'`+ownerPassword+`'`, // rand.Text is letters and digits
		`CREATE ROLE `+id(db.App)+login+`'`+appPassword+`'`,
		`CREATE DATABASE `+id(db.Name)+` OWNER `+id(db.Owner)+` TEMPLATE template0`,
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
