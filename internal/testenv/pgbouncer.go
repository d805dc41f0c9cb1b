package testenv

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const pgbouncerPort = "6432/tcp"

// PgBouncer starts a PgBouncer in transaction mode before the database, with two server connections for any number of
// clients, and returns the application role's URL through it. It skips the test where there is no image.
func (db *Database) PgBouncer(t testing.TB) string {
	t.Helper()
	app, err := url.Parse(db.AppURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	password, _ := app.User.Password()
	config := fmt.Sprintf(`[databases]
%[1]s = host=%[2]s port=5432 dbname=%[1]s user=%[3]s password=%[4]s
[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_prepared_statements = 100
ignore_startup_parameters = extra_float_digits
`, db.Name, db.server.inside, db.App, password)
	through := func(address string) string {
		u := *app
		u.Host = address
		return u.String()
	}
	ready := wait.ForSQL(pgbouncerPort, "pgx", func(host string, port network.Port) string {
		return through(host + ":" + port.Port())
	}).WithStartupTimeout(startTimeout).WithPollInterval(pollInterval)
	// One for each test: it knows one database. It is removed with the others when the process ends.
	var one shared[string]
	return through(one.get(t, func(ctx context.Context) (string, error) {
		return run(ctx, "STRONGROOM_PGBOUNCER_IMAGE", pgbouncerPort, ready,
			testcontainers.WithFiles(testcontainers.ContainerFile{
				Reader: strings.NewReader(config), ContainerFilePath: "/etc/pgbouncer/pgbouncer.ini", FileMode: 0o644,
			}),
			testcontainers.WithEntrypoint("pgbouncer"), testcontainers.WithCmd("/etc/pgbouncer/pgbouncer.ini"))
	}))
}
