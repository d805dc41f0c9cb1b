package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
)

// files looks at owners and permissions.
func (d *doctor) files(context.Context) {
	cfg := d.s.config
	before := d.counts[problem] + d.counts[warning]
	d.file("the configuration", cfg.path, fs.ModePerm&0o022, 0)
	for _, s := range secretsIn("", reflect.ValueOf(*cfg)) {
		if s.secret.File != "" {
			d.file("the secret of "+s.field, cfg.in(s.secret.File), 0o037, 0o040)
		}
	}
	for _, p := range cfg.KEK.providers() {
		if v := p.Vault; v != nil {
			d.file(p.who()+"Vault's certificate authority", cfg.in(v.CAFile), 0o022, 0)
			d.file("the private key of "+p.field+".vault.keyFile", cfg.in(v.KeyFile), 0o037, 0o040)
			if j := v.Auth.JWT; j != nil {
				d.file("the token of "+p.field+".vault.auth.jwt", cfg.in(j.TokenFile), 0o037, 0o040)
			}
		}
		if l := p.Local; l != nil {
			d.file(p.who()+"the file of the key-encryption keys", cfg.in(l.File), 0o077, 0)
		}
	}
	if f := cfg.Store.Files; f != nil {
		d.file("the store", cfg.in(f.Dir), 0o077, 0)
	}
	if l := cfg.Store.SQLite; l != nil {
		d.file("the store", cfg.in(l.File), 0o022, 0o044)
	}
	for _, db := range cfg.Databases {
		if db.SQLite != nil {
			d.file("the database "+db.Name, cfg.in(db.SQLite.File), 0o002, 0o004)
		}
	}
	for _, b := range cfg.Buckets {
		if b.Dir != "" {
			d.file("the bucket "+b.Label, cfg.in(b.Dir), 0o002, 0o005)
		}
	}
	if c := cfg.Certificates; c != nil {
		d.file("the keyset that signs certificates", cfg.in(c.Keyset), 0o077, 0)
	}
	if d.counts[problem]+d.counts[warning] == before {
		d.find("files", fine, "", "owners and permissions are as they should be")
	}
}

// file reports permission bits that a file must not have and those that it had better not, another owner, and a directory
// in which others can put another file in its place. One that is not there is reported by what needs it.
func (d *doctor) file(what, path string, never, better fs.FileMode) {
	if path == "" {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		d.find("files", problem, "correct the configuration, or have keyctl init make what it makes", "%s: %v", what, err)
		return
	}
	mode := info.Mode().Perm()
	fix := fmt.Sprintf("chmod %04o %s", mode&^(never|better), path)
	switch {
	case mode&never != 0:
		d.find("files", problem, fix, "%s, %s, has mode %04o: others can read or change it", what, path, mode)
	case mode&better != 0:
		d.find("files", warning, fix, "%s, %s, has mode %04o, and others can read it", what, path, mode)
	}
	if uid, ok := owner(info); ok && uid != 0 && uid != os.Getuid() {
		d.find("files", warning, fmt.Sprintf("run keyctl as its owner, or chown %d %s", os.Getuid(), path), "%s, %s, belongs to user %d, who can change it", what, path, uid)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return
	}
	if dir, err := os.Stat(filepath.Dir(absolute)); err == nil && dir.Mode().Perm()&0o022 != 0 && dir.Mode()&fs.ModeSticky == 0 {
		d.find("files", problem, "chmod go-w "+filepath.Dir(absolute), "%s is in %s, where others can put another file in its place", what, filepath.Dir(absolute))
	}
}

// namedSecret is a secret of the configuration, and where that names it.
type namedSecret struct {
	field  string
	secret *secret
}

// secretsIn returns all secrets that a configuration names.
func secretsIn(field string, v reflect.Value) (all []namedSecret) {
	switch v.Kind() {
	case reflect.Pointer:
		if s, ok := v.Interface().(*secret); ok && s != nil {
			return []namedSecret{{field, s}}
		}
		if !v.IsNil() {
			return secretsIn(field, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("json"); tag != "" {
				all = append(all, secretsIn(strings.TrimPrefix(field+"."+tag, "."), v.Field(i))...)
			}
		}
	case reflect.Map:
		for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			all = append(all, secretsIn(fmt.Sprintf("%s[%q]", field, key.String()), v.MapIndex(key))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, secretsIn(fmt.Sprintf("%s[%d]", field, i), v.Index(i))...)
		}
	}
	return all
}

// reserve is how much space a trail needs beside what it has, in bytes: its segment and what is kept for a full disk.
const reserve = 256 << 20

// audit looks at the tool's trail.
func (d *doctor) audit(ctx context.Context) {
	dir := d.s.config.in(d.s.config.Audit.Dir)
	if _, err := os.Stat(filepath.Join(dir, "log.json")); err != nil {
		d.find("audit", problem, "correct audit.dir, or run keyctl init", "there is no audit trail in %s: %v", dir, err)
		return
	}
	before := d.counts[problem] + d.counts[warning]
	d.file("the audit trail", dir, 0o022, 0)
	for _, name := range []string{"signer.key", "pseudonym.key"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			d.file("the trail's "+name, filepath.Join(dir, name), 0o077, 0)
		}
	}
	f, err := os.CreateTemp(dir, ".keyctl-*")
	if err != nil {
		d.find("audit", problem, "give this user the right to write there", "the trail's directory cannot be written: %v", err)
	} else {
		f.Close()
		os.Remove(f.Name())
	}
	if free, err := freeSpace(dir); err == nil && free < reserve {
		d.find("audit", problem, "free space: on a full disk nothing can be recorded, and so nothing done", "the trail's disk has %d MiB left", free>>20)
	}
	report, err := audit.Verify(ctx, dir, nil)
	switch {
	case err != nil:
		d.find("audit", problem, "keep the directory as it is, and find out what happened: auditctl verify "+dir, "the trail is not intact: %v", err)
	case len(report.Unauthenticated) > 0:
		d.find("audit", warning, "see auditctl verify "+dir, "the trail has events that nothing authenticates")
	case d.counts[problem]+d.counts[warning] == before:
		d.find("audit", fine, "", "the trail in %s is intact", dir)
	}
}
