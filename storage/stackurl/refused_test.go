package stackurl_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/stack"
	"github.com/strongroom-go/strongroom/storage/stackurl"
)

// given is what a Config gives open, and notes that it was closed.
type given struct {
	audit.Recorder
	keys.KEK
	keys.Store
	closed int
}

func (g *given) Close() error { g.closed++; return errors.New("closed") }

type (
	recorder struct {
		audit.Recorder
		*given
	}
	kek struct {
		keys.KEK
		*given
	}
)

// All that is wrong is refused before anything is opened, with what mends it; and no error repeats what a URL had in it.
func TestRefused(t *testing.T) {
	const vault = "kek=vault://vault.invalid&"
	for raw, want := range map[string]string{
		"":                                              "strongroom: or is none",
		"/var/lib/clinic":                               "strongroom: or is none",
		"strongrom:///sesame":                           "strongroom: or is none",
		"strongroom:///%zz":                             "cannot be parsed",
		"strongroom://sesame/lib":                       "third slash",
		"strongroom:sesame":                             "third slash",
		"strongroom:///":                                "third slash",
		"strongroom://sesame@/x":                        "has a user",
		"strongroom:///x#sesame":                        "%23",
		"strongroom:///x?kke=sesame":                    "parameter 1 is not known; did you mean kek?",
		"strongroom:///x?sesame":                        "parameter 1 is not known. Known are bucket.scans, db.clinic, kek, kek.auth",
		"strongroom:///x?db.clinics=s":                  "did you mean db.clinic?",
		"strongroom:///x?bucket.scan=s":                 "did you mean bucket.scans?",
		"strongroom:///x?kek":                           "kek is empty",
		"strongroom:///x?kek=":                          "kek is empty",
		"strongroom:///x?keys=file:///a&keys=file:///b": "keys is given twice",
		"strongroom:///x?keys=%sesame":                  "parameter 1 is not percent-encoded",
		"strongroom:///x?db.clinic=postgres://a@b/c?sslmode=require&sesame=1":              "parameter 2 is not known",
		"strongroom:///x?db.clinic=postgres://a:se&same@db.invalid/c":                      "parameter 2 is not known",
		"strongroom:///x?db.clinic=postgres://a:sesame@db.invalid/c":                       "db.clinic has a password or another secret",
		"strongroom:///x?db.clinic=postgres://a@db.invalid/c?password=sesame":              "db.clinic has a password or another secret",
		"strongroom:///x?db.clinic=postgres://a@db.invalid/c?sslpassword=sesame":           "db.clinic has a password or another secret",
		"strongroom:///x?bucket.scans=s3://b?endpoint=https://u:sesame@store.invalid":      "bucket.scans has a password or another secret",
		"strongroom:///x?bucket.scans=s3://b?endpoint=https://u:se%2525zzsesame@s.invalid": "bucket.scans has a password or another secret",
		"strongroom:///x?bucket.scans=s3://b?session_token=sesame":                         "bucket.scans has a password or another secret",
		"strongroom:///x?bucket.scans=s3://b?Secret_Access_Key=sesame":                     "bucket.scans has a password or another secret",
		"strongroom:///x?keys=postgres://a:sesame@db.invalid/c":                            "keys has a password or another secret",
		"strongroom:///x?keys=postgres://a@db.invalid/c%253Fpassword=%25zz":                "keys is no URL that can be read",
		"strongroom:///x?keys=postgres://a@db.invalid/c?sslmode=%25zzsesame":               "keys has parameters that cannot be read",
		"strongroom:///x?keys=postgres:+host%3Ddb.invalid+password%3Dsesame":               "keys is no URL of the form",
		"strongroom:///x?db.clinic=host%3Ddb.invalid+password%3Dsesame":                    "db.clinic is no URL of the form",
		"strongroom:///x?keys=postgres://a@db.invalid/c":                                   "could be without TLS",
		"strongroom:///x?keys=postgres://a@db.invalid/c?sslmode=sesame":                    "keys is no connection string that can be read",
		"strongroom:///x?keys=mysql://sesame":                                              "keys has a scheme that is not known",
		"strongroom:///x?keys=file:///x?sesame=1":                                          "keys has no user, parameters or fragment",
		"strongroom:///x?keys=file://sesame/x":                                             "keys names no directory",
		"strongroom:///x?keys=file:///y&keys.table=sesame":                                 "keys.table is given, and is not for files",
		"strongroom:///x?keys.table=sesame":                                                "keys.table is given, and keys is not",
		"strongroom:///x?kek.role=sesame":                                                  "kek.role is given, and kek is not",
		"strongroom:///x?kek=hashivault://sesame":                                          "kek has a scheme that is not known; use vault:",
		"strongroom:///x?kek=file:///k&kek.shared_key=sesame":                              "kek.shared_key is given, and is not for a file",
		"strongroom:///x?" + vault + "kek.prefix=a-&kek.shared_key=sesame":                 "kek.shared_key is one for all; give one of them",
		"strongroom:///x?kek=file:///k&kek.role=sesame":                                    "kek.role is given, and is not for a file",
		"strongroom:///x?kek=file://sesame/k":                                              "kek names no file",
		"strongroom:///x?kek=file:///k&kek.passphrase_file=/nowhere":                       "kek.passphrase_file: no such file",
		"strongroom:///x?kek=vault://vault.invalid":                                        "kek.auth is missing or not known; use approle, jwt, kubernetes, token",
		"strongroom:///x?" + vault + "kek.auth=sesame":                                     "kek.auth is missing or not known",
		"strongroom:///x?" + vault + "kek.auth=approle&kek.role_id_file=/nowhere":          "kek.secret_id_file is missing, which kek.auth=approle needs",
		"strongroom:///x?" + vault + "kek.auth=kubernetes&kek.role_id_file=/a":             "kek.role_id_file is given, and is not for kek.auth=kubernetes",
		"strongroom:///x?" + vault + "kek.auth=token&kek.token_file=/a&kek.auth_mount=b":   "kek.auth_mount is given",
		"strongroom:///x?" + vault + "kek.auth=token&kek.token_file=/nowhere":              "kek.token_file: no such file",
		"strongroom:///x?keys.listen=no":                                                   "keys.listen is given, and keys is not",
		"strongroom:///x?keys=file:///y&keys.listen=no":                                    "keys.listen is given, and is not for files",
		"strongroom:///x?keys=postgres://a@db.invalid/c&keys.listen=sesame":                "keys.listen is neither yes nor no",
		// A secret where the name of its file belongs.
		"strongroom:///x?kek=file:///k&kek.passphrase_file=open+sesame":                                               "kek.passphrase_file: no such file",
		"strongroom:///x?" + vault + "kek.auth=token&kek.token_file=hvs.sesame":                                       "kek.token_file: no such file",
		"strongroom:///x?" + vault + "kek.auth=jwt&kek.role=r&kek.token_file=eyJ.sesame":                              "kek.token_file: no such file",
		"strongroom:///x?" + vault + "kek.auth=approle&kek.role_id_file=/etc/hostname&kek.secret_id_file=sesame-4711": "kek.secret_id_file: no such file",
		"strongroom:///x?kek=vault://u:sesame@vault.invalid&kek.auth=token&kek.token_file=/a":                         "kek has a password",
		"strongroom:///x?kek=vault://sesame@vault.invalid&kek.auth=token&kek.token_file=/a":                           "kek has no user",
		"strongroom:///x?kek=vault:///transit&kek.auth=token&kek.token_file=/a":                                       "kek names no host",
		"strongroom:///x?kek=vault-http://vault.invalid&kek.auth=kubernetes&kek.role=r":                               "in plaintext",
	} {
		t.Run(raw, func(t *testing.T) {
			g := &given{}
			c := stack.Config{Audit: recorder{given: g}, Databases: map[string]stack.Database{"clinic": {Schema: schema}}, Buckets: map[string]stack.Bucket{"scans": {}}}
			s, err := stackurl.Open(t.Context(), raw, c)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			for _, secret := range []string{"sesame", "same@", "zz"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats %q", secret)
				}
			}
			if !strings.Contains(err.Error(), want) || g.closed != 1 {
				t.Errorf("%v; want %q, and what was given closed; it was %d times", err, want, g.closed)
			}
		})
	}
}

// What the Config has is not named by the URL too.
func TestNamedTwice(t *testing.T) {
	c := stack.Config{
		Dir: t.TempDir(), KEK: kek{given: &given{}}, Store: &given{},
		Databases: map[string]stack.Database{"clinic": {URL: "sqlite:a", Schema: schema}},
		Buckets:   map[string]stack.Bucket{"scans": {URL: "mem://"}},
	}
	_, err := stackurl.Open(context.Background(), "strongroom:///x?kek=file:///k&keys=file:///s&db.clinic=sqlite:b&bucket.scans=mem://", c)
	for _, want := range []string{"Config.Dir", "Config.KEK", "Config.Store", "Config.Databases", "Config.Buckets"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not refused: %v", want, err)
		}
	}
	if c.Databases["clinic"].URL != "sqlite:a" || c.Buckets["scans"].Options != nil {
		t.Error("the caller's maps were changed")
	}
}
