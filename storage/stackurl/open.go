package stackurl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/strongroom-go/strongroom/internal/pgtls"
	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/sqlstore/pgxlisten"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
)

// Open opens what c says, at the places that the URL says: see the package's documentation. What has no place in either is where
// [stack.Open] has it by default. As with that, what c gives open belongs to the stack, and is closed where something does not open.
func Open(ctx context.Context, rawURL string, c stack.Config) (*stack.Stack, error) {
	p, err := parse(rawURL, &c)
	if err == nil && p["kek"] != "" {
		c.KEK, err = openKEK(ctx, p)
	}
	if err == nil && p["keys"] != "" {
		c.Store, err = openStore(ctx, p)
	}
	if err != nil {
		for _, given := range []any{c.Store, c.KEK, c.Audit} { // in the order of stack.Close
			if closer, ok := given.(io.Closer); ok {
				err = errors.Join(err, closer.Close())
			}
		}
		return nil, err
	}
	return stack.Open(ctx, c)
}

func openKEK(ctx context.Context, p parameters) (keys.KEK, error) {
	u, err := url.Parse(p["kek"])
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("stackurl: kek has no user, parameters or fragment of its own; what else it needs stands beside it, as kek.auth does")
	}
	if u.Scheme == "file" {
		path, ok := pathOf(u)
		if !ok || path == "" {
			return nil, errors.New("stackurl: kek names no file; it is as in file:///etc/clinic/kek.json")
		}
		var opts localkek.Options
		if name := p["kek.passphrase_file"]; name != "" {
			if opts.Passphrase, err = readFile("kek.passphrase_file", name); err != nil {
				return nil, err
			}
		}
		kek, err := localkek.Open(path, &opts)
		if err != nil {
			return nil, err // and no KEK that is a nil pointer
		}
		return kek, nil
	}
	if u.Host == "" {
		return nil, errors.New("stackurl: kek names no host; it is as in vault://vault.example.com:8200/transit")
	}
	login, err := openLogin(p)
	if err != nil {
		return nil, err
	}
	address := url.URL{Scheme: map[string]string{"vault": "https", "vault-http": "http"}[u.Scheme], Host: u.Host}
	opts := &vaultkek.Options{
		Mount: strings.Trim(u.Path, "/"), Prefix: p["kek.prefix"], Namespace: p["kek.namespace"],
		CAFile: p["kek.ca_file"], CertFile: p["kek.cert_file"], KeyFile: p["kek.key_file"],
	}
	if key := p["kek.shared_key"]; key != "" {
		kek, err := vaultkek.OpenShared(ctx, address.String(), login, key, opts)
		if err != nil {
			return nil, err
		}
		return kek, nil
	}
	kek, err := vaultkek.Open(ctx, address.String(), login, opts)
	if err != nil {
		return nil, err
	}
	return kek, nil
}

func openLogin(p parameters) (api.AuthMethod, error) {
	mount := p["kek.auth_mount"]
	var token vaultkek.TokenSource // nil is Kubernetes' own
	if path := p["kek.token_file"]; path != "" {
		read := vaultkek.TokenFile(path)
		token = func(ctx context.Context) (string, error) {
			text, err := read(ctx)
			return text, fileError("kek.token_file", err)
		}
	}
	switch p["kek.auth"] {
	case "approle":
		role, err := readFile("kek.role_id_file", p["kek.role_id_file"])
		if err != nil {
			return nil, err
		}
		secret, err := readFile("kek.secret_id_file", p["kek.secret_id_file"])
		if err != nil {
			return nil, err
		}
		return vaultkek.AppRole(role, secret, mount)
	case "kubernetes":
		return vaultkek.Kubernetes(p["kek.role"], token, mount)
	case "jwt":
		return vaultkek.JWT(p["kek.role"], token, mount)
	}
	text, err := readFile("kek.token_file", p["kek.token_file"])
	if err != nil {
		return nil, err
	}
	return vaultkek.Token(text), nil
}

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 64 << 10

// readFile reads a secret, which no error shows.
func readFile(name, path string) (string, error) {
	content, err := plainfile.Read(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("stackurl: %w", fileError(name, err))
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", fmt.Errorf("stackurl: %s names an empty file", name)
	}
	return text, nil
}

// fileError is an error about the file of a secret, without the file's name, where the secret itself may stand by mistake.
func fileError(name string, err error) error {
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", name, path.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func openStore(ctx context.Context, p parameters) (keys.Store, error) {
	if strings.HasPrefix(p["keys"], "file:") {
		u, err := url.Parse(p["keys"])
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("stackurl: keys has no user, parameters or fragment; it is as in file:///var/lib/clinic-keys")
		}
		path, ok := pathOf(u)
		if !ok || path == "" {
			return nil, errors.New("stackurl: keys names no directory; it is as in file:///var/lib/clinic-keys")
		}
		store, err := filestore.Open(path, nil)
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	config, err := pgx.ParseConfig(p["keys"])
	if err != nil { // which repeats it
		return nil, errors.New("stackurl: keys is no connection string that can be read")
	}
	if host := pgtls.Plain(config); host != "" {
		return nil, fmt.Errorf("stackurl: keys: the connection to %s could be without TLS; add sslmode=verify-full to it", host)
	}
	db := stdlib.OpenDB(*config)
	opts := sqlstore.Options{Table: p["keys.table"]}
	if p["keys.listen"] != "no" {
		opts.Listen = pgxlisten.DB(db)
	}
	store, err := sqlstore.Open(ctx, db, dialect.PostgreSQL, &opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stackurl: keys: %w", err), db.Close())
	}
	return ownedStore{store, db}, nil
}

// ownedStore is a store whose database is closed with it.
type ownedStore struct {
	*sqlstore.Store
	db *sql.DB
}

func (s ownedStore) Close() error { return s.db.Close() }
