package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/vault/api"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// setUp does once, with more rights than the service has, what operators do with their own tools: secrets, the tables of keys and
// trail, Vault's policies, and then, by opening everything as the tables' owner, the clinics' tables and their keys. It may be
// run again.
func setUp(ctx context.Context, c *config, r *reports) (err error) {
	if err := makeSecrets(c); err != nil {
		return err
	}
	if c.owner != "" {
		if err := setUpPostgres(ctx, c); err != nil {
			return err
		}
	}
	if token := os.Getenv("VAULT_TOKEN"); c.vault != "" && token != "" {
		if err := setUpVault(ctx, c, token); err != nil {
			return err
		}
	}
	if c.s3 != "" {
		if err := setUpS3(ctx, c); err != nil {
			return err
		}
	}
	o, err := open(ctx, c, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	if err := provision(ctx, o); err != nil {
		return err
	}
	if c.demo {
		if err := o.seed(ctx); err != nil {
			return err
		}
	}
	r.log.Info("set up")
	return nil
}

func setUpPostgres(ctx context.Context, c *config) error {
	keys, err := sqlstore.DDL(dialect.PostgreSQL, keysTable)
	if err != nil {
		return err
	}
	trail, err := pglog.DDL(trailName, pglog.Roles{Recorder: "clinic_audit", Sealer: "clinic_seal"})
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", c.owner) //sqldblint:raw the owner makes tables
	if err != nil {
		return errors.New("-owner is not a connection string that can be read")
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, keys); err != nil {
		return fmt.Errorf("the keys' table: %w", err)
	}
	var there bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, trailName).Scan(&there); err != nil || there {
		return err
	}
	if _, err := db.ExecContext(ctx, trail); err != nil {
		return fmt.Errorf("the trail's table: %w", err)
	}
	return nil
}

// setUpS3 makes the bucket.
func setUpS3(ctx context.Context, c *config) error {
	b, err := blob.OpenBucket(ctx, c.s3)
	if err != nil {
		return errors.New("-s3 is no bucket's URL as in s3://scans?region=eu-central-1")
	}
	defer b.Close()
	var client *s3.Client
	u, err := url.Parse(c.s3)
	if err != nil || !b.As(&client) {
		return errors.New("-s3 is no URL of S3's")
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &u.Host})
	if err != nil && !errors.As(err, new(*types.BucketAlreadyOwnedByYou)) {
		return fmt.Errorf("the bucket: %w", err)
	}
	return nil
}

// setUpVault gives the service a Transit engine and a login that may do what the library's policy says, and no more.
func setUpVault(ctx context.Context, c *config, token string) error {
	config := api.DefaultConfig()
	config.Address = c.vault
	client, err := api.NewClient(config)
	if err != nil {
		return errors.New("-vault is no address as in https://vault.example.com:8200")
	}
	client.SetToken(token)
	// What is there already answers "path is already in use".
	there := func(err error) error {
		if err != nil && strings.Contains(err.Error(), "already in use") {
			return nil
		}
		return err
	}
	write := func(path string, data map[string]any) error {
		_, err := client.Logical().WriteWithContext(ctx, path, data)
		return err
	}
	const role = "auth/approle/role/clinic"
	for _, err := range []error{
		there(client.Sys().MountWithContext(ctx, "transit", &api.MountInput{Type: "transit"})),
		there(client.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &api.EnableAuthOptions{Type: "approle"})),
		client.Sys().PutPolicyWithContext(ctx, "clinic", vaultkek.Policy("", "")),
		write(role, map[string]any{"token_policies": "clinic", "token_no_default_policy": true, "token_period": "1h"}),
	} {
		if err != nil {
			return fmt.Errorf("vault: %w", err)
		}
	}
	answer, err := client.Logical().ReadWithContext(ctx, role+"/role-id")
	id, err := field(answer, "role_id", err)
	if err != nil {
		return err
	}
	if err := c.writeSecret(roleID, func() ([]byte, error) { return id, nil }); err != nil {
		return err
	}
	if known, err := c.readSecret(roleID); err != nil {
		return err
	} else if known != string(id) {
		return fmt.Errorf("vault: it is not the one that %s is of: one in development mode forgets all keys when it ends, and what is sealed under them is lost; "+
			"begin anew with empty databases, buckets and -secrets (docker compose down --volumes)", c.secretFile(roleID))
	}
	return c.writeSecret(secretID, func() ([]byte, error) {
		secret, err := client.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
		return field(secret, "secret_id", err)
	})
}

func field(s *api.Secret, name string, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	text, ok := "", false
	if s != nil {
		text, ok = s.Data[name].(string)
	}
	if !ok {
		return nil, fmt.Errorf("vault: there is no %s", name)
	}
	return []byte(text), nil
}
