package main

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys/localkek"
)

// TestWrongConfigurations: each is refused, with the field that is wrong and without anything that it says.
func TestWrongConfigurations(t *testing.T) {
	const rest = `, "store": {"files": {"dir": "keys"}}, "audit": {"dir": "trail"}}`
	const vault = `{"kek": {"vault": {"address": "https://vault", "auth": `
	const local = `{"kek": {"local": {"file": "kek.json"}}, "audit": {"dir": "trail"}, `
	for text, want := range map[string]string{
		``:                  "the whole ends too early",
		`{"kek": `:          "kek ends too early",
		`{} {}`:             "behind the value",
		`{"kek": null}`:     "kek is null",
		`{"kek": {}` + rest: "kek has 0 of local, vault and route",
		`{"kek": {"local": {"file": "a"}, "vault": {"address": "https://v", "auth": {"token": {"env": "T"}}}}` + rest: "kek has 2 of local, vault and route",
		`{"kek": {"local": {"File": "a"}}` + rest:                                            "kek.local.File is not known here; known are file, passphrase",
		`{"kek": {"local": {"file": "a", "file": "b"}}` + rest:                               "kek.local.file stands there twice",
		`{"kek": {"local": {"file": ""}}` + rest:                                             "kek.local.file is empty",
		`{"kek": {"local": {"file": "a", "passphrase": "` + canary + `"}}` + rest:            "kek.local.passphrase is a string and has to be an object",
		`{"kek": {"local": {"file": "a", "passphrase": {"value": "` + canary + `"}}}` + rest: "kek.local.passphrase.value is not known here",
		`{"kek": {"local": {"file": "a", "passphrase": {"file": "x", "env": "Y"}}}` + rest:   "kek.local.passphrase has 2 of file and env",
		vault + `{}}}` + rest:                                                                                   "kek.vault.auth has 0 of token, appRole, kubernetes and jwt",
		vault + `{"token": "` + canary + `"}}}` + rest:                                                          "kek.vault.auth.token is a string",
		vault + `{"appRole": {"roleId": "r"}}}}` + rest:                                                         "kek.vault.auth.appRole.secretId is missing",
		vault + `{"appRole": {"secretId": {"file": "s"}}}}}` + rest:                                             "kek.vault.auth.appRole.roleId is empty",
		vault + `{"jwt": {"role": "r"}}}}` + rest:                                                               "kek.vault.auth.jwt.tokenFile is empty",
		vault + `{"kubernetes": {}}}}` + rest:                                                                   "kek.vault.auth.kubernetes.role is empty",
		`{"kek": {"route": {}}` + rest:                                                                          "kek.route.default.provider is \"\", which is none of",
		`{"kek": {"route": {"providers": {"a": null}}}` + rest:                                                  "is null",
		`{"kek": {"route": {"providers": {"a": {}}, "default": {"provider": "a"}}}` + rest:                      "kek.route.providers[\"a\"] has 0 of local and vault",
		`{"kek": {"route": {"providers": {"a": {"local": {"file": ""}}}, "default": {"provider": "a"}}}` + rest: "kek.route.providers[\"a\"].local.file is empty",
		`{"kek": {"route": {"providers": {"a": {"local": {"file": "f"}}}, "default": {"provider": "a", "also": ["b"]}}}` + rest:                       "kek.route.default.also[0] is \"b\"",
		`{"kek": {"route": {"providers": {"a": {"local": {"file": "f"}}}, "default": {"provider": "a"}, "tenants": {"/": {"provider": "a"}}}}` + rest: "is no tenant's id",
		`{"kek": {"route": {"providers": {"a": {"local": {"file": "f"}}}, "default": {"provider": "a"}, "unmarked": "b"}}` + rest:                     "kek.route.unmarked is \"b\"",
		local + `"store": {}}`: "store has 0 of files, postgresql and sqlite",
		local + `"store": {"postgresql": {"url": "postgres://u:` + canary + `@h"}}}`:                                                                                                            "store.postgresql.url has a password in it",
		local + `"store": {"postgresql": {"url": "postgres://h/db?password=` + canary + `"}}}`:                                                                                                  "store.postgresql.url has a password in it",
		local + `"store": {"postgresql": {"url": "postgres://h/db?sslpassword=` + canary + `"}}}`:                                                                                               "store.postgresql.url has a password in it",
		local + `"store": {"postgresql": {"url": "host=h password=` + canary + `"}}}`:                                                                                                           "store.postgresql.url is not of the form",
		local + `"store": {"postgresql": {"url": "postgres://h:` + canary + `/db"}}}`:                                                                                                           "store.postgresql.url is not of the form",
		local + `"store": {"postgresql": {"url": "postgres://db.example.com/db"}}}`:                                                                                                             "the connection to db.example.com could be without TLS",
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "sqlite": {"file": "f"}}]}`:                                                                                   "databases[0].schema is missing",
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "schema": {"p": {}}}]}`:                                                                                       "databases[0] has 0 of postgresql and sqlite",
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "sqlite": {"file": "f"}, "schema": {"p": {"sealed": {"x": {"type": "txt"}}}}}]}`:                              `databases[0].schema: sqldb: the schema: "p": sealed: "x": the type is "txt"`,
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "sqlite": {"file": "f"}, "schema": {"p": {"sealed": {"x": {"type": "text"}}, "sealed": {}}}}]}`:               "databases[0].schema.p.sealed stands there twice",
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "sqlite": {"file": "f"}, "schema": {"p": {}}}, {"name": "a", "sqlite": {"file": "f"}, "schema": {"p": {}}}]}`: "databases[1].name is empty or another database's",
		local + `"store": {"sqlite": {"file": "f"}}, "databases": [{"name": "a", "sqlite": {"file": "./f"}, "schema": {"p": {}}}]}`:                                                             "databases[0].sqlite.file is the store's",
		local + `"store": {"files": {"dir": "keys"}}, "buckets": [{"dir": "b"}]}`:                                                                                                               "buckets[0].label is empty",
		local + `"store": {"files": {"dir": "keys"}}, "buckets": [{"label": "b", "dir": "b", "url": "s3://b"}]}`:                                                                                "buckets[0] has 2 of dir and url",
		local + `"store": {"files": {"dir": "keys"}}, "keyring": {"suspendWithin": "5"}}`:                                                                                                       "keyring.suspendWithin is no time such as 5s",
		local + `"store": {"files": {"dir": "keys"}}, "keyring": {"suspendWithin": 5}}`:                                                                                                         "keyring.suspendWithin",
		local + `"store": {"files": {"dir": "keys"}}, "certificates": {}}`:                                                                                                                      "certificates.keyset is empty",
		local + `"store": {"files": {"dir": "keys"}}, "a\u001b[2J\u202eb": 1}`:                                                                                                                  `"a\x1b[2J\u202eb" is not known here`,
		`{"kek": {"local": {"file": "kek.json"}}, "store": {"files": {"dir": "keys"}}}`:                                                                                                         "audit.dir is empty",
		local + `"store": {"files": {"dir": "keys"}}, "databases": [{"name": "a", "sqlite": {"file": "f"}, "sc`:                                                                                 "ends too early",
	} {
		w := newWorld(t, text)
		for _, command := range []string{"init", "list", "doctor"} {
			if command == "doctor" && strings.Contains(want, "could be without TLS") {
				continue // it is a finding there
			}
			_, errs := w.try(exitError, command, "-json")
			if e := lines(t, errs)[0]; !strings.Contains(e["error"].(string), want) || e["class"] != "config" {
				t.Errorf("%s with %s\n says %s\nwant %s", command, text, errs, want)
			}
		}
		for _, made := range []string{"kek.json", "keys", "trail"} {
			if _, err := os.Stat(filepath.Join(w.dir, made)); err == nil && !strings.Contains(want, "TLS") {
				t.Errorf("%s was made all the same", made)
			}
		}
	}
}

// TestNothingIsMadeBySlips: only init makes what is missing.
func TestNothingIsMadeBySlips(t *testing.T) {
	w := newWorld(t, embedded)
	for _, args := range [][]string{{"list"}, {"provision", "acme"}, {"shred", "-reason", "x", "-yes", "-confirm", "acme", "acme"}} {
		w.try(exitError, args...)
	}
	if files, err := os.ReadDir(w.dir); err != nil || len(files) != 1 {
		t.Errorf("%v are there", files)
	}
	w.try(exitOK, "init")
	must(t, os.RemoveAll(filepath.Join(w.dir, "trail")))
	if _, errs := w.try(exitError, "provision", "acme"); !strings.Contains(errs, "there is no audit trail in ") {
		t.Errorf("without a trail: %s", errs)
	}
}

// TestAnUnfitTableIsNotInitialised: init leaves a table that there is, and says so where the store does not take it.
func TestAnUnfitTableIsNotInitialised(t *testing.T) {
	w := newWorld(t, strings.Replace(embedded, `{"files": {"dir": "keys"}}`, `{"sqlite": {"file": "records.db"}}`, 1))
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "records.db"))
	must(t, err)
	_, err = db.Exec("CREATE TABLE strongroom_keys (tenant INTEGER PRIMARY KEY, version INTEGER, data BLOB)")
	must(t, errors.Join(err, db.Close()))
	if _, errs := w.try(exitError, "init"); !strings.Contains(errs, "different ids would be one") {
		t.Error(errs)
	}
}

// TestSecretsAreNotPrinted: neither those that fit nor those that do not, whatever goes wrong.
func TestSecretsAreNotPrinted(t *testing.T) {
	w := newWorld(t, "")
	passphrase := w.secret("passphrase", canary+" of the file")
	w.write("keyctl.json", strings.Replace(embedded, `{"file": "kek.json"}`, `{"file": "kek.json", "passphrase": `+passphrase+`}`, 1))
	// A file that is quick to make.
	_, err := localkek.Open(filepath.Join(w.dir, "kek.json"), &localkek.Options{Passphrase: canary + " of the file", WorkFactor: 1})
	must(t, err)
	w.try(exitOK, "init")
	w.try(exitOK, "provision", "acme")
	w.write("passphrase", canary+" of another")
	_, errs := w.try(exitError, "status", "-keys", "acme")
	if !strings.Contains(errs, "the passphrase does not fit") {
		t.Error(errs)
	}
	w.finds(exitFindings, "the passphrase does not fit: it does not open the file; nothing was changed | correct kek.local.passphrase")
	w.write("passphrase", " \n")
	w.try(exitOK, "list")
	if _, errs := w.try(exitError, "status", "-keys", "acme"); !strings.Contains(errs, "kek.local.passphrase: ") || !strings.Contains(errs, "is empty") {
		t.Error(errs)
	}
	// An error that repeats a secret, as a driver's may.
	tl := &tool{stderr: &safeWriter{&bytes.Buffer{}}, secrets: []string{canary}}
	if got := tl.withheld("password authentication failed: " + canary); strings.Contains(got, canary) {
		t.Error(got)
	}
}

// TestTextsAreSafe: what commands a terminal, or shows another order than there is, is written as escapes.
func TestTextsAreSafe(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, 'quotes' \"too\"\n": "plain text, 'quotes' \"too\"\n",
		"\x1b[2J\r\t\x00\x7f":            `\x1b[2J\r\t\x00\x7f`,
		"\u009b31m \u202e \u200b \u0430": `\u009b31m \u202e \u200b \u0430`,
		"\xff\xfe":                       `\xff\xfe`,
		"\U0001f600":                     `\U0001f600`,
	} {
		if got := safe(text); got != want {
			t.Errorf("%q is written as %q", text, got)
		}
	}
	var b bytes.Buffer
	must(t, writeJSON(&b, map[string]string{"a": "\x1b\u009b\u202e\U0001f600\x7f\n"}))
	if got := b.String(); got != `{"a":"\u001b\u009b\u202e\ud83d\ude00\u007f\n"}`+"\n" {
		t.Errorf("as JSON: %q", got)
	}
	w := newWorld(t, embedded)
	w.try(exitOK, "init")
	for _, id := range []string{"a\x1b[2J", "\u0430cme", "a b", "../x", ""} {
		w.try(exitError, "provision", id)
		w.try(exitError, "shred", "-reason", "x", "-yes", "-confirm", id, id)
	}
	w.try(exitOK, "provision", "acme")
	w.try(exitError, "shred", "-reason", "x", "-yes", "-confirm", "a\x1b[2Jcme\u202e", "acme")
	w.try(exitError, "-\x1b[2J")
	w.try(exitError, "frob\x1b[2J")
	w.try(exitError, "list", "-status", "\x1b[2J")
	w.try(exitOK, "suspend", "-reason", "\x1b[2J\u202e", "-actor", "os:bj\u00f6rn", "acme")
}
