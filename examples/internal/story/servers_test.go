package story_test

import (
	"bytes"
	"database/sql"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/examples/internal/story"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestStoryOnServers tells the quickstart's story on PostgreSQL, Vault and an S3 server.
func TestStoryOnServers(t *testing.T) {
	postgres, vault, s3 := testenv.Postgres(t).NewDatabase(t), testenv.Vault(t), s3env.Server(t)
	ctx := t.Context()
	exec := func(url string, statements ...string) *sql.DB {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		for _, statement := range statements {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		return db
	}
	policies, err := story.Schema().DDL(dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	exec(postgres.OwnerURL, story.Tables(dialect.PostgreSQL), policies)

	dir := t.TempDir() + "/audit"
	trail, err := audit.OpenLog(dir, &audit.Options{Timeout: time.Minute}) // for a disk that others keep busy
	if err != nil {
		t.Fatal(err)
	}
	defer trail.Close()
	kek := openVault(t, vault)
	defer kek.Close()
	keysDB := exec(testenv.Postgres(t).NewDatabase(t).OwnerURL)
	if err := sqlstore.Create(ctx, keysDB, dialect.PostgreSQL, ""); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(ctx, keysDB, dialect.PostgreSQL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(ctx, kek, store, &keys.Options{Audit: trail})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	guard := storage.Guard{Keys: ring, Audit: trail}

	db, err := sqldb.Open(ctx, postgres.AppURL, story.Schema(), guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s3.Setenv(t)
	url := s3.BucketURL(s3.NewBucket(t))
	bucket, err := blobs.Open(ctx, url, guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	rawBucket, err := blob.OpenBucket(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer rawBucket.Close()

	raw := exec(postgres.SuperURL) // row-level security does not bind a superuser
	var out bytes.Buffer
	err = story.Run(ctx, story.World{
		DB: db, Bucket: bucket, RawDB: raw, RawBucket: rawBucket, Dialect: dialect.PostgreSQL,
		Keys: ring, Log: trail, AuditDir: dir, Out: &out,
		AtRest: []story.Place{
			story.Files(dir), story.Objects(rawBucket), story.Rows(raw, "patients", "visits", "departments"), story.Rows(keysDB, sqlstore.DefaultTable),
		},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

// openVault logs in with the rights that the library prints for a service, and no more.
func openVault(t *testing.T, vault *testenv.VaultServer) *vaultkek.KEK {
	ctx, root, mount := t.Context(), vault.Client(t), vault.EnableTransit(t)
	if err := root.Sys().PutPolicyWithContext(ctx, "story-"+mount, vaultkek.Policy(mount, "")); err != nil {
		t.Fatal(err)
	}
	login := vault.EnableAppRole(t)
	role := "auth/" + login + "/role/story"
	if _, err := root.Logical().WriteWithContext(ctx, role, map[string]any{"token_policies": "story-" + mount, "token_no_default_policy": true}); err != nil {
		t.Fatal(err)
	}
	id, err := root.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := root.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := vaultkek.AppRole(id.Data["role_id"].(string), secret.Data["secret_id"].(string), login)
	if err != nil {
		t.Fatal(err)
	}
	kek, err := vaultkek.Open(ctx, vault.Addr, auth, &vaultkek.Options{Mount: mount})
	if err != nil {
		t.Fatal(err)
	}
	return kek
}
