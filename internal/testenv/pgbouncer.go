package testenv

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv/wire"
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
	// One for each test: it knows one database. It is removed with the others when the process ends.
	var one Shared[*Container]
	c := one.Get(t, func(ctx context.Context) (*Container, error) {
		return Start(ctx, wire.Spec{
			Variable: "STRONGROOM_PGBOUNCER_IMAGE", Port: pgbouncerPort,
			Entrypoint: []string{"pgbouncer"}, Cmd: []string{"/etc/pgbouncer/pgbouncer.ini"},
			Files: map[string][]byte{"/etc/pgbouncer/pgbouncer.ini": []byte(config)},
			Ready: wire.Ready{SQL: through(anyHost)},
		})
	})
	return through(c.Address)
}
