package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/internal/strictjson"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

// config is the configuration's file; "keyctl init -h" describes it. Paths in it are relative to its directory. It holds no
// secret: those are in files of their own, or in the environment.
type config struct {
	Keyring      keyringConfig      `json:"keyring"`
	KEK          kekConfig          `json:"kek"`
	Store        storeConfig        `json:"store"`
	Audit        auditConfig        `json:"audit"`
	Databases    []databaseConfig   `json:"databases"`
	Buckets      []bucketConfig     `json:"buckets"`
	Complete     bool               `json:"complete"` // databases and buckets are all that the tenants' keys seal
	Certificates *certificateConfig `json:"certificates"`

	path string // of the file
	dir  string // that paths are relative to
}

type keyringConfig struct {
	Label         string   `json:"label"`
	SuspendWithin duration `json:"suspendWithin"`
	Timeout       duration `json:"timeout"`
}

// kekConfig names one provider, or several and the routes to them.
type kekConfig struct {
	Local *localConfig `json:"local"`
	Vault *vaultConfig `json:"vault"`
	Route *routeConfig `json:"route"`
}

// providerConfig names one provider.
type providerConfig struct {
	Local *localConfig `json:"local"`
	Vault *vaultConfig `json:"vault"`
}

type localConfig struct {
	File       string  `json:"file"`
	Passphrase *secret `json:"passphrase"`
}

type vaultConfig struct {
	Address                string     `json:"address"`
	Mount                  string     `json:"mount"`
	Prefix                 string     `json:"prefix"`
	SharedKey              string     `json:"sharedKey"`
	Namespace              string     `json:"namespace"`
	CAFile                 string     `json:"caFile"`
	CertFile               string     `json:"certFile"`
	KeyFile                string     `json:"keyFile"`
	Timeout                duration   `json:"timeout"`
	InsecureAllowPlaintext bool       `json:"insecureAllowPlaintext"`
	Auth                   authConfig `json:"auth"`
}

// authConfig names one method.
type authConfig struct {
	Token      *secret         `json:"token"`
	AppRole    *appRoleConfig  `json:"appRole"`
	Kubernetes *workloadConfig `json:"kubernetes"`
	JWT        *workloadConfig `json:"jwt"`
}

type appRoleConfig struct {
	RoleID   string  `json:"roleId"`
	SecretID *secret `json:"secretId"`
	Mount    string  `json:"mount"`
}

type workloadConfig struct {
	Role      string `json:"role"`
	TokenFile string `json:"tokenFile"`
	Mount     string `json:"mount"`
}

// storeConfig names one store.
type storeConfig struct {
	Files      *filesConfig    `json:"files"`
	PostgreSQL *postgresConfig `json:"postgresql"`
	SQLite     *sqliteConfig   `json:"sqlite"`
}

type filesConfig struct {
	Dir string `json:"dir"`
}

type postgresConfig struct {
	URL                    string  `json:"url"`
	Password               *secret `json:"password"`
	Table                  string  `json:"table"`
	InsecureAllowPlaintext bool    `json:"insecureAllowPlaintext"`
}

type sqliteConfig struct {
	File  string `json:"file"`
	Table string `json:"table"`
}

type auditConfig struct {
	Dir string `json:"dir"`
	// Origin is for a trail that init makes.
	Origin string `json:"origin"`
}

// databaseConfig is a database of the tenants' data: of PostgreSQL or SQLite.
type databaseConfig struct {
	Name              string              `json:"name"`
	PostgreSQL        *dataPostgresConfig `json:"postgresql"`
	SQLite            *dataSQLiteConfig   `json:"sqlite"`
	Schema            json.RawMessage     `json:"schema"`
	TenantColumn      string              `json:"tenantColumn"`
	TenantType        string              `json:"tenantType"`
	PostgreSQLSchema  string              `json:"postgresqlSchema"`
	TransactionPooler bool                `json:"transactionPooler"`
	Migration         *migrationConfig    `json:"migration"`

	schema sqldb.Schema
}

type dataPostgresConfig struct {
	URL                    string  `json:"url"`
	Password               *secret `json:"password"`
	InsecureAllowPlaintext bool    `json:"insecureAllowPlaintext"`
	InsecureWithoutRLS     bool    `json:"insecureWithoutRLS"`
}

// migrationConfig is how an existing application's database moves in: as whom, and whose the rows of each table are.
type migrationConfig struct {
	URL      string                  `json:"url"` // the tables' owner's, on PostgreSQL
	Password *secret                 `json:"password"`
	Tenants  map[string]sourceConfig `json:"tenants"`

	sources map[string]sqldb.TenantSource
}

// sourceConfig names one source.
type sourceConfig struct {
	Column string   `json:"column"`
	Parent []string `json:"parent"`
	Tenant string   `json:"tenant"`
}

type dataSQLiteConfig struct {
	File string `json:"file"`
}

// bucketConfig is a bucket of the tenants' objects: a directory, or a URL of gocloud.dev's.
type bucketConfig struct {
	Label                  string `json:"label"`
	Dir                    string `json:"dir"`
	URL                    string `json:"url"`
	SealNames              bool   `json:"sealNames"`
	Leftovers              bool   `json:"leftovers"` // S3: unfinished uploads and older versions go too when a tenant leaves
	InsecureAllowPlaintext bool   `json:"insecureAllowPlaintext"`
}

// certificateConfig is what signs offboardings.
type certificateConfig struct {
	Keyset     string  `json:"keyset"` // file of the Tink keyset
	Passphrase *secret `json:"passphrase"`
	KeyID      string  `json:"keyId"`
}

// duration is a time such as "5s".
type duration struct {
	time.Duration
	wrong bool // it is none; check says so, with the field
}

// UnmarshalText reads what [time.ParseDuration] does.
func (d *duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	d.wrong = err != nil || d.Duration < 0
	return nil
}

// maxConfig bounds the file, in bytes.
const maxConfig = 4 << 20

// readConfig reads and checks the configuration.
func readConfig(path string) (*config, error) {
	if path == "" {
		path = os.Getenv("KEYCTL_CONFIG")
	}
	if path == "" {
		return nil, usagef(`no configuration is named; set -config, or KEYCTL_CONFIG in the environment; "keyctl init -h" shows what is in one`)
	}
	c := &config{path: path}
	data, err := plainfile.Read(path, maxConfig)
	if err != nil {
		return nil, configf("%w", err)
	}
	if err := strictjson.Unmarshal(data, c); err != nil {
		return nil, configf("%s: %w", path, err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, configf("%w", err)
	}
	c.dir = filepath.Dir(absolute)
	if err := c.check(); err != nil {
		return nil, configf("%s:\n%w", path, err)
	}
	return c, nil
}

func configf(format string, args ...any) error {
	return &failure{"config", fmt.Errorf("the configuration: "+format, args...)}
}

// in makes a path of the configuration's absolute.
func (c *config) in(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.dir, path)
}

// problems collects what is wrong with fields.
type problems []error

func (p *problems) add(bad bool, format string, args ...any) {
	if bad {
		*p = append(*p, fmt.Errorf("  "+format, args...))
	}
}

// one wants exactly one of several to be there.
func (p *problems) one(field, names string, there ...bool) {
	n := 0
	for _, b := range there {
		if b {
			n++
		}
	}
	p.add(n != 1, "%s has %d of %s; name one", field, n, names)
}

// check reports all that is wrong without opening anything.
func (c *config) check() error {
	var p problems
	p.add(c.Keyring.SuspendWithin.wrong, "keyring.suspendWithin is no time such as 5s")
	p.add(c.Keyring.Timeout.wrong, "keyring.timeout is no time such as 5s")
	c.KEK.check(&p)
	p.one("store", "files, postgresql and sqlite", c.Store.Files != nil, c.Store.PostgreSQL != nil, c.Store.SQLite != nil)
	if s := c.Store.Files; s != nil {
		p.add(s.Dir == "", "store.files.dir is empty; name the directory of the records")
	}
	if s := c.Store.SQLite; s != nil {
		p.add(s.File == "", "store.sqlite.file is empty; name the database's file")
	}
	if s := c.Store.PostgreSQL; s != nil {
		p.url("store.postgresql", s.URL, s.Password)
	}
	p.add(c.Audit.Dir == "", "audit.dir is empty; name a directory for this tool's own audit trail: a service's cannot be shared")
	if c.Certificates != nil {
		p.add(c.Certificates.Keyset == "", "certificates.keyset is empty; name the file of the keyset that signs")
		p.secret("certificates.passphrase", c.Certificates.Passphrase, false)
	}
	c.checkStores(&p)
	return errors.Join(p...)
}

// checkStores checks where the tenants' data is.
func (c *config) checkStores(p *problems) {
	names := map[string]bool{}
	for i := range c.Databases {
		d, field := &c.Databases[i], fmt.Sprintf("databases[%d]", i)
		p.add(d.Name == "" || names[d.Name], "%s.name is empty or another database's; give each its own", field)
		names[d.Name] = true
		p.one(field, "postgresql and sqlite", d.PostgreSQL != nil, d.SQLite != nil)
		if d.PostgreSQL != nil {
			p.url(field+".postgresql", d.PostgreSQL.URL, d.PostgreSQL.Password)
		}
		if d.SQLite != nil {
			p.add(d.SQLite.File == "", "%s.sqlite.file is empty; name the database's file", field)
			same := c.Store.SQLite != nil && filepath.Clean(c.in(c.Store.SQLite.File)) == filepath.Clean(c.in(d.SQLite.File))
			p.add(same, "%s.sqlite.file is the store's: a process that seals would wait for itself; give the store a file of its own", field)
		}
		if m := d.Migration; m != nil {
			if d.SQLite == nil {
				p.url(field+".migration", m.URL, m.Password)
			} else {
				p.add(m.URL != "" || m.Password != nil, "%s.migration has a url or a password, and a SQLite file has no owner to connect as; leave them out", field)
			}
			m.check(p, field+".migration")
		}
		if d.Schema == nil {
			p.add(true, "%s.schema is missing; it is what json.Marshal makes of the application's sqldb.Schema", field)
		} else if err := d.schema.UnmarshalJSON(d.Schema); err != nil {
			p.add(true, "%s.schema: %w", field, err)
		}
	}
	labels := map[string]bool{}
	for i, b := range c.Buckets {
		field := fmt.Sprintf("buckets[%d]", i)
		p.one(field, "dir and url", b.Dir != "", b.URL != "")
		p.add(b.Label == "" || labels[b.Label], "%s.label is empty or another bucket's; it is the label that the application opens it with", field)
		labels[b.Label] = true
	}
}

func (m *migrationConfig) check(p *problems, field string) {
	m.sources = make(map[string]sqldb.TenantSource, len(m.Tenants))
	for table, s := range m.Tenants {
		at := fmt.Sprintf("%s.tenants[%q]", field, table)
		p.one(at, "column, parent and tenant", s.Column != "", len(s.Parent) > 0, s.Tenant != "")
		switch {
		case s.Column != "":
			m.sources[table] = sqldb.FromColumn(s.Column)
		case len(s.Parent) > 0:
			m.sources[table] = sqldb.FromParent(s.Parent...)
		case s.Tenant != "":
			id, err := tenant.Parse(s.Tenant)
			p.add(err != nil, "%s.tenant is no tenant's id: %v", at, err)
			m.sources[table] = sqldb.FromConstant(id)
		}
	}
}
