package pgtls

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestPlain(t *testing.T) {
	for dsn, host := range map[string]string{
		"postgres://u@db.example.com/x":                           "db.example.com",
		"postgres://u@db.example.com/x?sslmode=disable":           "db.example.com",
		"postgres://u@db.example.com/x?sslmode=allow":             "db.example.com",
		"postgres://u@db.example.com/x?sslmode=require":           "",
		"postgres://u@db.example.com/x?sslmode=verify-full":       "",
		"postgres://u@127.0.0.1,db.example.com/x?sslmode=disable": "db.example.com",
		"postgres://u@127.0.0.1/x?sslmode=disable":                "",
		"postgres://u@[::1]/x":                                    "",
		"postgres://u@localhost/x":                                "",
		"postgres://u@localhost.example.com/x":                    "localhost.example.com",
		"host=/var/run/postgresql user=u":                         "",
		// libpq's abstract socket; pgx asks a resolver for it.
		"host=@db.example.com user=u":           "@db.example.com",
		"host=/run/x,@db.example.com user=u":    "@db.example.com",
		"host=LOCALHOST user=u sslmode=disable": "LOCALHOST",
		"host=192.0.2.1 user=u sslmode=prefer":  "192.0.2.1",
	} {
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		if got := Plain(config); got != host {
			t.Errorf("%s: %q, want %q", dsn, got, host)
		}
	}
}
