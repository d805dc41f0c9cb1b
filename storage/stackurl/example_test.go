package stackurl_test

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"

	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/storage/stackurl"
	"github.com/strongroom-go/strongroom/tenant"
)

// A service reads from its environment where its data is. What the data is, it says in Go.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "clinic")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	at := "strongroom://" + dir // os.Getenv("CLINIC_DATA")

	ctx := context.Background()
	s, err := stackurl.Open(ctx, at, stack.Config{
		Databases: map[string]stack.Database{"clinic": {
			Schema: sqldb.Schema{"patients": {Sealed: sqldb.Columns{"name": sqldb.Text()}}},
			Tables: []string{`CREATE TABLE IF NOT EXISTS patients (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name BLOB, PRIMARY KEY (tenant_id, id))`},
		}},
		Buckets: map[string]stack.Bucket{"scans": {}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	north := tenant.MustParse("north")
	if err := s.Keys.Provision(ctx, north); err != nil {
		log.Fatal(err)
	}
	ctx = tenant.NewContext(ctx, tenant.Access{Tenant: north, Actor: "dr.adams", Purpose: "treatment"})
	if _, err := s.DB["clinic"].ExecContext(ctx, `INSERT INTO patients (id, name) VALUES (1, 'Ada Smith')`); err != nil {
		log.Fatal(err)
	}
	var name string
	if err := s.DB["clinic"].QueryRowContext(ctx, `SELECT name FROM patients WHERE id = 1`).Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(name)
	// Output: Ada Smith
}

// The URL of a service on PostgreSQL, Vault and S3, as whoever deploys it writes it. It has no secret in it: the passwords are in a file,
// Vault knows the pod, and the SDK finds S3's credentials by itself.
func ExampleOpen_servers() {
	u := url.URL{Scheme: stackurl.Scheme, Path: "/var/lib/clinic", RawQuery: url.Values{
		"kek":          {"vault://vault.example.com:8200/transit"},
		"kek.auth":     {"kubernetes"},
		"kek.role":     {"clinic"},
		"keys":         {"postgres://keys@db.example.com/keys?sslmode=verify-full&passfile=/run/secrets/pgpass"},
		"db.clinic":    {"postgres://app@db.example.com/clinic?sslmode=verify-full&passfile=/run/secrets/pgpass"},
		"bucket.scans": {"s3://scans?region=eu-central-1"},
	}.Encode()}
	fmt.Println(u.Query().Get("db.clinic"))

	_, err := stackurl.Open(context.Background(), "strongroom:///var/lib/clinic?bukcet.scans=s3://scans", stack.Config{Buckets: map[string]stack.Bucket{"scans": {}}})
	fmt.Println(err)
	// Output:
	// postgres://app@db.example.com/clinic?sslmode=verify-full&passfile=/run/secrets/pgpass
	// stackurl: parameter 1 is not known; did you mean bucket.scans? Known are bucket.scans, kek, kek.auth, kek.auth_mount, kek.ca_file, kek.cert_file, kek.key_file, kek.namespace, kek.passphrase_file, kek.prefix, kek.role, kek.role_id_file, kek.secret_id_file, kek.shared_key, kek.token_file, keys, keys.listen, keys.table. Where it belongs to the value before it, the & between them is written %26
}
