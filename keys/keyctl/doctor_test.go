package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// found runs doctor and returns its findings that are not fine, one a line: check, level, what, fix.
func (w *world) found(want int) string {
	w.t.Helper()
	out, _ := w.try(want, "doctor", "-json")
	var b strings.Builder
	for _, f := range lines(w.t, out) {
		if f["level"] != nil && f["level"] != string(fine) {
			fix, _ := f["fix"].(string)
			if fix == "" {
				w.t.Errorf("a finding without what to fix: %v", f)
			}
			b.WriteString(strings.Join([]string{f["check"].(string), f["level"].(string), f["what"].(string), fix}, " | ") + "\n")
		}
	}
	return b.String()
}

// finds wants findings that contain the texts, and those alone.
func (w *world) finds(want int, texts ...string) {
	w.t.Helper()
	got := w.found(want)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			w.t.Errorf("%q is not found among\n%s", text, got)
		}
	}
	if n := strings.Count(got, "\n"); n < len(texts) {
		w.t.Errorf("%d findings, want at least %d:\n%s", n, len(texts), got)
	}
}

func TestDoctorEmbedded(t *testing.T) {
	s := newEmbedded(t)
	s.try(exitOK, "provision", "acme")
	if got := s.found(exitOK); got != "" {
		t.Errorf("a healthy installation has findings:\n%s", got)
	}
	in := func(name string) string { return filepath.Join(s.dir, name) }
	broken := func(breakIt, mendIt func() error, want int, texts ...string) {
		t.Helper()
		must(t, breakIt())
		s.finds(want, texts...)
		must(t, mendIt())
		if got := s.found(exitOK); got != "" {
			t.Errorf("mended, there is still\n%s", got)
		}
	}
	mode := func(name string, bad, good os.FileMode) (func() error, func() error) {
		return func() error { return os.Chmod(in(name), bad) }, func() error { return os.Chmod(in(name), good) }
	}
	for _, c := range []struct {
		name      string
		bad, good os.FileMode
		want      int
		text      string
	}{
		{"keyctl.json", 0o666, 0o600, exitFindings, "files | problem | the configuration, "},
		{"kek.json", 0o640, 0o600, exitFindings, "kek | problem | "},
		{"keys", 0o777, 0o700, exitFindings, "files | problem | the store, "},
		{"keys", 0o755, 0o700, exitFindings, "files | problem | the store, "},
		{"clinics.db", 0o644, 0o600, exitOK, "files | warning | the database clinics, "},
		{"signer.json", 0o644, 0o600, exitFindings, "files | problem | the keyset that signs certificates, "},
		{"clinics.db", 0o666, 0o600, exitFindings, "files | problem | the database clinics, "},
		{"bucket", 0o777, 0o700, exitFindings, "files | problem | the bucket scans, "},
		{"trail", 0o777, 0o700, exitFindings, "files | problem | the audit trail, "},
		{"trail/signer.key", 0o644, 0o600, exitFindings, "files | problem | the trail's signer.key, "},
		{".", 0o777, 0o700, exitFindings, "others can put another file in its place"},
	} {
		breakIt, mendIt := mode(c.name, c.bad, c.good)
		broken(breakIt, mendIt, c.want, c.text)
	}
	move := func(name string) (func() error, func() error) {
		return func() error { return os.Rename(in(name), in(name+".away")) }, func() error { return os.Rename(in(name+".away"), in(name)) }
	}
	for name, text := range map[string]string{
		"kek.json": "kek | problem | ", "keys": "store | problem | ", "trail": "audit | problem | there is no audit trail", "clinics.db": "databases | problem | ",
		"bucket": "buckets | problem | ",
	} {
		breakIt, mendIt := move(name)
		broken(breakIt, mendIt, exitFindings, text)
	}
	swap := func(name string, change func([]byte) []byte) (func() error, func() error) {
		old, err := os.ReadFile(in(name))
		must(t, err)
		put := func(data []byte) func() error { return func() error { return os.WriteFile(in(name), data, 0o600) } }
		return put(change(bytes.Clone(old))), put(old)
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	breakIt, mendIt := swap("keys/"+acme.Segment(), flip)
	broken(breakIt, mendIt, exitFindings, "tenants | problem | ")
	breakIt, mendIt = swap("trail/seg/00000000000000000000.jsonl", flip)
	broken(breakIt, mendIt, exitFindings, "audit | problem | the trail is not intact")
	// A configuration that forgets a sealed column, and one that forgets a table.
	breakIt, mendIt = swap("keyctl.json", func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"sealed":{"name":{"type":"text","index":"name_index"}}`), nil, 1)
	})
	broken(breakIt, mendIt, exitFindings, "databases | problem | clinics.patients.name: ")
}

func TestDoctorOnServers(t *testing.T) {
	s := newServers(t)
	s.try(exitOK, "provision", "acme")
	if got := s.found(exitOK); got != "" {
		t.Errorf("a healthy installation has findings:\n%s", got)
	}
	vault := testenv.Vault(t)
	root := vault.Client(t)
	data, err := os.ReadFile(s.config)
	must(t, err)
	cfg, err := readConfig(s.config)
	must(t, err)
	v := cfg.KEK.Vault
	login := func(policy string, more ...string) {
		t.Helper()
		must(t, root.Sys().PutPolicyWithContext(t.Context(), "doctor", policy+strings.Join(more, "\n")))
		secret, err := root.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"doctor"}, NoDefaultPolicy: true, NoParent: true, Period: "100h"})
		must(t, err)
		s.secret("token", secret.Auth.ClientToken)
		start := bytes.Index(data, []byte(`"auth": `))
		end := bytes.Index(data, []byte("}}},"))
		s.write("keyctl.json", string(data[:start])+`"auth": {"token": {"file": "token"}}`+string(data[end+1:]))
	}
	full := vaultkek.Policy(v.Mount, v.Prefix)
	login(full)
	if got := s.found(exitOK); got != "" {
		t.Errorf("with a token there are findings:\n%s", got)
	}
	login(vaultkek.UsePolicy(v.Mount, v.Prefix))
	s.finds(exitFindings, "kek | warning | the token may not ask what it may do")
	login(vaultkek.UsePolicy(v.Mount, v.Prefix), `path "sys/capabilities-self" { capabilities = ["update"] }`)
	s.finds(exitFindings, `path "`+v.Mount+`/keys/strongroom-*" { capabilities = ["create", "read", "update", "delete"] }`)
	login(full, `path "`+v.Mount+`/export/*" { capabilities = ["read"] }`, `path "`+v.Mount+`/encrypt/strongroom-*" { capabilities = ["create", "update"] }`)
	s.finds(exitFindings, "the token may do more than it should\n           path \""+v.Mount+"/encrypt/strongroom-*\" { capabilities = [\"create\"] }", "/export/encryption-key/strongroom-*")
	s.secret("token", vault.RootToken)
	s.finds(exitFindings, "kek | problem | the token is Vault's root token")
	s.secret("token", "hvs."+canary)
	s.finds(exitFindings, "kek | problem | no login at Vault")
	s.write("keyctl.json", string(data))

	doctorPostgres(s)
}

// doctorPostgres breaks what doctor looks at in PostgreSQL.
func doctorPostgres(s *site) {
	t := s.t
	t.Helper()
	data, err := os.ReadFile(s.config)
	must(t, err)
	// A column that the database marks as sealed and the configuration forgets; row-level security that is switched off.
	s.write("keyctl.json", strings.Replace(string(data), `"sealed":{"name":{"type":"text","index":"name_index"}}`, "", 1))
	s.finds(exitFindings, "databases | problem | clinics.patients.name: ")
	s.write("keyctl.json", string(data))
	_, err = s.raw.ExecContext(t.Context(), `ALTER TABLE patients DISABLE ROW LEVEL SECURITY`)
	must(t, err)
	s.finds(exitFindings, "databases | problem | clinics.patients: ")
	_, err = s.raw.ExecContext(t.Context(), `ALTER TABLE patients ENABLE ROW LEVEL SECURITY`)
	must(t, err)
	// The store's table, where others may write, and roles that may do too much or too little.
	owner := openSQL(t, s.records.OwnerURL)
	grant := func(statement string) {
		t.Helper()
		_, err := owner.ExecContext(t.Context(), statement)
		must(t, err)
	}
	app := `"` + s.records.App + `"`
	grant(`GRANT INSERT, UPDATE ON strongroom_keys TO PUBLIC`)
	s.finds(exitOK, "store | warning | PUBLIC may INSERT, UPDATE in the store's table")
	grant(`REVOKE INSERT, UPDATE ON strongroom_keys FROM PUBLIC`)
	grant(`REVOKE DELETE ON strongroom_keys FROM ` + app)
	s.finds(exitFindings, `store | problem | the role `+s.records.App+` may not DELETE in the store's table | GRANT DELETE ON "strongroom_keys" TO `+app)
	grant(`GRANT DELETE ON strongroom_keys TO ` + app)
	as := func(url string) {
		t.Helper()
		text, password := s.apart("other-password", url)
		cfg, err := readConfig(s.config)
		must(t, err)
		p := cfg.Store.PostgreSQL
		changed := strings.Replace(string(data), p.URL, text, 1)
		s.write("keyctl.json", strings.Replace(changed, `{"file": "`+p.Password.File+`"}`, password, 1))
	}
	as(s.records.OwnerURL)
	s.finds(exitOK, "store | warning | the role "+s.records.Owner+" owns the store's table")
	s.write("keyctl.json", string(data))
	as(s.records.SuperURL)
	s.finds(exitFindings, "store | problem | the role postgres is a superuser")
	s.write("keyctl.json", string(data))
	s.write("records-password", canary)
	s.finds(exitFindings, "store | problem | the store does not open")
}
