package blobs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"strings"
	"testing"

	_ "gocloud.dev/blob/fileblob"

	"github.com/strongroom-go/strongroom/storage"
)

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		url     string
		refused string // a part of the error; empty where the URL is accepted
	}{
		{"s3://b?region=eu-central-1", ""},
		{"s3://b?endpoint=https://s3.example.com&region=x", ""},
		{"s3://b?endpoint=http://127.0.0.1:9000", ""},
		{"s3://b?endpoint=http://localhost&use_path_style=true", ""},
		{"s3://b?endpoint=http://localhost:9000&s3ForcePathStyle=1", ""},
		{"s3://b?endpoint=https://localhost:9000", ""},
		{"s3://b?endpoint=http://[::1]:9000&disable_https=true", ""},
		{"s3://b?disable_https=false", ""},
		{"s3://b?prefix=http://looks-like-one/", ""},
		{"azblob://c?domain=blob.core.windows.net&protocol=https", ""},
		{"azblob://c?domain=localhost:10001&protocol=http&localemu=true", ""},
		{"azblob://c?domain=127.0.0.1:10001&protocol=http", ""},
		{"azblob://c?domain=[::1]:10001&protocol=http&localemu=true", ""},
		{"gs://b", ""},
		{"mem://", ""},
		{"file:///srv/data?create_dir=true", ""},
		{"s3://b?endpoint=http://s3.example.com", "endpoint"},
		{"s3://b?endpoint=HTTP://s3.example.com", "endpoint"},
		{"s3://b?endpoint=http://127.0.0.1.example.com", "endpoint"},
		{"s3://b?endpoint=http://localhost@example.com", "endpoint"},
		{"s3://b?endpoint=http://10.0.0.1:9000", "endpoint"},
		{"s3://b?endpoint=s3.example.com", "endpoint"},
		{"s3://b?endpoint=//s3.example.com", "endpoint"},
		{"s3://b?endpoint=ftp://s3.example.com", "endpoint"},
		{"s3://b?endpoint=http://localhost&endpoint=http://s3.example.com", "endpoint"},
		// What goes to localhost goes to b.localhost, which is for a resolver or a proxy to say where it is.
		{"s3://b?endpoint=http://localhost", "use_path_style"},
		{"s3://b?endpoint=http://localhost:9000&use_path_style=false", "use_path_style"},
		{"s3://b?endpoint=http://localhost&use_path_style=true&s3ForcePathStyle=false", "use_path_style"},
		{"s3://b?endpoint=https://localhost&disable_https=true", "use_path_style"},
		{"blob+s3://b?endpoint=http://localhost", "use_path_style"},
		{"s3://b?endpoint=http://LOCALHOST&use_path_style=true", "endpoint"},
		{"s3://b?endpoint=http://127.0.0.1:80@example.com", "endpoint"},
		{"s3://b?disable_https=true", "disable_https"},
		{"s3://b?disable_https=1", "disable_https"},
		{"s3://b?disable_https=t&endpoint=https://s3.example.com", "disable_https"},
		{"azblob://c?protocol=http", "protocol"},
		{"azblob://c?protocol=http&domain=example.com", "protocol"},
		{"azblob://c?localemu=true", "localemu"},
		{"azblob://c?protocol=http&domain=127.0.0.1:80@example.com", "protocol"},
		{"azblob://c?protocol=http&domain=localhost:80@example.com", "protocol"},
		{"azblob://c?protocol=http&domain=localhost@example.com", "protocol"},
		{"azblob://c?protocol=http&domain=127.0.0.1:80/x", "protocol"},
		{"azblob://c?protocol=http&localemu=true&domain=http://localhost", "protocol"}, // http://http://localhost/account
		{"azblob://c?protocol=http&domain=127.0.0.2:10001", "protocol"},                // http://account.127.0.0.2:10001
		{"azblob://c?protocol=http&domain=[::1]:10001&localemu=false", "protocol"},
		{"other://b?url=http://example.com", "url"},
		{"s3://b?key=one", `"key"`},
		{"mem://?prefix=a/&key=", `"key"`},
		{"s3://user:hunter2@b", "user name"},
		{"s3://b?x=%zz", "parsed"},
	} {
		u, err := url.Parse(c.url)
		must(t, err)
		err = checkURL(u, false)
		switch {
		case (err != nil) != (c.refused != ""):
			t.Errorf("%s: got %v", c.url, err)
		case err != nil && !strings.Contains(err.Error(), c.refused):
			t.Errorf("%s: %v does not name %s", c.url, err, c.refused)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%v shows a credential", err)
		}
		weak := strings.Contains(c.refused, "user") || strings.Contains(c.refused, "key") || c.refused == "parsed"
		if err := checkURL(u, true); (err != nil) != weak {
			t.Errorf("%s with InsecureAllowPlaintext: got %v", c.url, err)
		}
	}
}

func TestDefaultLabel(t *testing.T) {
	for raw, want := range map[string]string{
		"s3://records?region=eu-central-1&endpoint=https://e": "s3://records",
		"s3://records?region=x&prefix=eu/":                    "s3://records?prefix=eu/",
		"file:///srv/data?metadata=skip":                      "file:///srv/data",
		"mem://":                                              "mem://",
	} {
		u, err := url.Parse(raw)
		must(t, err)
		if got := labelOf(u); got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}

func TestOpen(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		url   string
		guard storage.Guard
		opts  *Options
		want  string
	}{
		"no keys":       {"mem://", storage.Guard{Audit: w.log}, nil, "Guard.Keys"},
		"no log":        {"mem://", storage.Guard{Keys: w.ring}, nil, "Guard.Audit"},
		"no opener":     {"nosuch://x", w.guard, nil, "nosuch"},
		"not a URL":     {"s3://secret\x7f", w.guard, nil, "cannot be parsed"},
		"long label":    {"mem://", w.guard, &Options{Label: strings.Repeat("l", MaxLabelLength+1)}, "over the limit"},
		"unclean label": {"mem://", w.guard, &Options{Label: "a\nb"}, "printable"},
		"limit":         {"mem://", w.guard, &Options{AttributesLimit: -1}, "negative"},
		"plaintext":     {"s3://b?endpoint=http://e.example.com", w.guard, nil, "InsecureAllowPlaintext"},
	} {
		b, err := Open(t.Context(), c.url, c.guard, c.opts)
		if err == nil || b != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Wrap(memory(), w.guard, nil); err == nil || !strings.Contains(err.Error(), "Label") {
		t.Errorf("Wrap without a label: got %v", err)
	}
	if _, err := Wrap(nil, w.guard, &Options{Label: "x"}); err == nil {
		t.Error("Wrap(nil) succeeded")
	}
}

// Objects keep opening after they moved to another place, under the label they were written with.
func TestMovedStore(t *testing.T) {
	w := newWorld(t)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	var got [2][]byte
	b, err := Open(t.Context(), "file://"+dirs[0], w.guard, &Options{Label: "scans"})
	must(t, err)
	must(t, b.WriteAll(w.a, "k", []byte("content"), nil))
	from, to := fileBucket(t, dirs[0]), fileBucket(t, dirs[1])
	putRaw(t, to, alice.Segment()+"/k", getRaw(t, from, alice.Segment()+"/k"))
	for i, dir := range dirs {
		b, err := Open(t.Context(), "file://"+dir, w.guard, &Options{Label: "scans"})
		must(t, err)
		got[i], err = b.ReadAll(w.a, "k")
		must(t, err)
		must(t, b.Close())
	}
	if !bytes.Equal(got[0], got[1]) {
		t.Error("they differ")
	}
	renamed, err := Open(t.Context(), "file://"+dirs[1], w.guard, nil)
	must(t, err)
	_, err = renamed.ReadAll(w.a, "k")
	wantIs(t, err, storage.ErrIsolation)
}

// TestOpenShowsNoCredential: an opener's error repeats what it was given, and credentials that somebody put into the URL
// with it.
func TestOpenShowsNoCredential(t *testing.T) {
	w := newWorld(t)
	for _, u := range []string{
		"mem://x?secret_access_key=hunter2-hunter2", "file:///nosuch?sas_token=hunter2-hunter2", "nosuch://b?secret_access_key=hunter2-hunter2",
		"file:///nosuch?sas_token=hunter2%2Dhunter2", "mem://?hunter=hunter2-hunter2&hunter=hunter2-hunter2", "mem://x?%68unter=hunter2-hunter2",
		"mem://?x=hunter2-hunter2#hunter2-hunter2", "mem://?x=%22hunter2-hunter2%22",
	} {
		_, err := Open(t.Context(), u, w.guard, nil)
		if err == nil {
			t.Errorf("%s was opened", u)
			continue
		}
		for err := range chain(err) {
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the error shows the credential: %v", u, err)
			}
		}
	}
}

// chain is an error and all that it wraps.
func chain(err error) iter.Seq[error] {
	return func(yield func(error) bool) {
		for ; err != nil && yield(err); err = errors.Unwrap(err) {
		}
	}
}

// TestAStoresErrorShowsNoCredential: a driver's error repeats the request, signature and all, or the path of a file.
func TestAStoresErrorShowsNoCredential(t *testing.T) {
	cause := &url.Error{Op: "Get", URL: "https://store.example.com/b/k?sv=1&sig=hunter2", Err: &fs.PathError{Op: "open", Path: "/srv/secret/k", Err: fs.ErrNotExist}}
	err := fromStore(fmt.Errorf("blob (key %q): %w", "k", cause))
	var request *url.Error
	if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "/srv") || !strings.Contains(text, "store.example.com/b/k") {
		t.Error(text)
	}
	if !errors.As(err, &request) || !errors.Is(err, fs.ErrNotExist) {
		t.Error("the driver's error is lost")
	}
}
