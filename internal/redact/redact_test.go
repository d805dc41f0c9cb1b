package redact

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`Get "https://h/b/k?sv=1&sig=hunter2": EOF`, `Get "https://h/b/k?[withheld]": EOF`},
		{`cannot parse postgres://u:hunter2@h:5432/d?sslmode=x`, `cannot parse postgres://[withheld]@h:5432/d?[withheld]`},
		{`open s3://b#hunter2`, `open s3://b#[withheld]`},
		{`cannot parse "host=h password=hunter2 user=u"`, `cannot parse "host=h password=[withheld] user=u"`},
		{`password='hunter2 x' user=u`, `password=[withheld] user=u`},
		{`AccountKey=hunter2==;EndpointSuffix=x`, `AccountKey=[withheld];EndpointSuffix=x`},
		{`Authorization: Bearer hunter2`, `Authorization: [withheld]`},
		{`X-Vault-Token: hunter2`, `X-Vault-Token: [withheld]`},
		{`permission denied for table strongroom_keys (SQLSTATE 42501)`, `permission denied for table strongroom_keys (SQLSTATE 42501)`},
		{`dial tcp 127.0.0.1:1: connect: connection refused`, `dial tcp 127.0.0.1:1: connect: connection refused`},
	} {
		if got := Text(c.in); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

// TestValues: whatever an opener does to a value before it repeats it.
func TestValues(t *testing.T) {
	u, err := url.Parse("s3://b?secret=hun%20ter%222&x=1&plain=hunter3")
	if err != nil {
		t.Fatal(err)
	}
	secrets := Secrets(u)
	for _, text := range []string{
		"unknown parameter in " + u.String(), u.RawQuery, "hun ter\"2", fmt.Sprintf("%q", "hun ter\"2"), url.QueryEscape("hun ter\"2"),
		url.PathEscape("hun ter\"2"), fmt.Sprint(u.Query()), "hunter3", `parsing "hunter3": invalid`,
	} {
		got := Text(text, secrets...)
		for _, secret := range []string{"hun ter", "hunter3", "hun+ter", "hun%20ter"} {
			if strings.Contains(got, secret) {
				t.Errorf("%s: %s", text, got)
			}
		}
	}
	if got := Text(`unknown query parameter "secret"`, secrets...); !strings.Contains(got, "unknown query parameter") {
		t.Errorf("nothing is left: %s", got)
	}
	if got := Text("a piece, hunter3-is-very-lo", "hunter3-is-very-long-indeed"); got != Withheld {
		t.Errorf("a piece is left: %s", got)
	}
}

func TestErrors(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "/srv/secret/k", Err: fs.ErrNotExist}
	inner := fmt.Errorf("token=hunter2: %w", cause)
	var path *fs.PathError
	if err := Error(inner); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &path) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if err := Opaque(inner); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &path) || errors.Unwrap(err) != nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if got := Paths(inner.Error(), inner); strings.Contains(got, "/srv") {
		t.Errorf("%s", got)
	}
	if Error(nil) != nil || Opaque(nil) != nil {
		t.Error("an error out of nothing")
	}
}
