package s3lock_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/s3lock"
	"github.com/strongroom-go/strongroom/internal/canary"
	"github.com/strongroom-go/strongroom/internal/samplelog"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
)

// contents returns what a bucket's objects hold, by their names' order.
func contents(t *testing.T, client *s3.Client, name string) (all string) {
	t.Helper()
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &name})
	must(t, err)
	for _, o := range list.Contents {
		object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &name, Key: o.Key})
		must(t, err)
		data, err := io.ReadAll(object.Body)
		must(t, err)
		all += string(data)
	}
	return all
}

// TestAuditctl ships a log to a bucket from the command line, and goes on where it was.
func TestAuditctl(t *testing.T) {
	server := s3env.Server(t)
	client, tmp := server.Client(t), t.TempDir()
	name, plain := newBucket(t, client, "shipped", true), newBucket(t, client, "shipped-unlocked", false)
	dir, want := newLog(t)
	binary, keys := filepath.Join(tmp, "auditctl"), filepath.Join(tmp, "keys")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/strongroom-go/strongroom/audit/auditctl")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, os.WriteFile(keys, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", server.AccessKey, server.SecretKey), 0o600))
	run := func(bucket string, status int) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, "ship", "-to", "s3", "-bucket", bucket, "-region", server.Region, "-endpoint", server.Endpoint, "-path-style",
			"-credentials-file", keys, "-keep", "2h", "-batch", "15", "-cursor", filepath.Join(tmp, bucket), "-once", dir)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != status || strings.Contains(string(out), server.SecretKey) {
			t.Errorf("exit status %d, want %d\n%s", got, status, out)
		}
		return string(out)
	}
	if out := run(name, 0); !strings.Contains(out, "0 behind") {
		t.Error(out)
	}
	run(name, 0) // nothing new
	lines := ""
	for _, e := range want {
		lines += string(e.Raw) + "\n"
	}
	if got := contents(t, client, name); got != lines {
		t.Errorf("the bucket has %d bytes, and the log %d", len(got), len(lines))
	}
	if out := run(plain, 2); !strings.Contains(out, "has no Object Lock") {
		t.Error(out)
	}
}

// TestOpenAt: what is missing is said.
func TestOpenAt(t *testing.T) {
	for _, s := range []s3lock.Server{{}, {Region: "r", AccessKey: "k"}, {AccessKey: "k", SecretKey: "s"}} {
		if _, err := s3lock.OpenAt(t.Context(), s, "b", s3lock.Options{Retain: time.Hour}); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestCanaries looks for what is personal in the objects, their names and the errors.
func TestCanaries(t *testing.T) {
	client := s3env.Server(t).Client(t)
	name := newBucket(t, client, "canaries", true)
	dir := filepath.Join(t.TempDir(), "log")
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Durability: audit.Written, Timeout: time.Minute})
	must(t, err)
	keys, err := samplelog.NewKeys()
	must(t, err)
	must(t, canary.Each(keys, func(e *audit.Event) error { return l.Record(t.Context(), e) }))
	must(t, l.Close())
	b, err := s3lock.Open(t.Context(), client, name, s3lock.Options{Retain: time.Hour})
	must(t, err)
	sh, err := sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), b, nil)
	must(t, err)
	total := 0
	for n := 1; n > 0; total += n {
		n, err = sh.Round(t.Context())
		must(t, err)
	}
	must(t, sh.Close())
	list, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &name})
	must(t, err)
	shown := contents(t, client, name)
	clear := canary.Found([]byte(shown), canary.Clear)
	for _, o := range list.Versions {
		head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &name, Key: o.Key})
		must(t, err)
		shown += fmt.Sprintf("%s %v %v %v\n", *o.Key, head.Metadata, head.ContentType, head.ContentDisposition)
	}
	if found := canary.Found([]byte(shown), canary.Sealed); len(found) > 0 {
		t.Errorf("the bucket shows %v", found)
	}
	if !slices.Equal(clear, canary.ClearFields()) || total < 100 {
		t.Errorf("%d events, and in the clear %v: the test looked at too little", total, clear)
	}
	// A bucket that is not there is named in no error together with what was to be put there.
	gone := newBucket(t, client, "canaries-gone", true)
	b, err = s3lock.Open(t.Context(), client, gone, s3lock.Options{Retain: time.Hour})
	must(t, err)
	_, err = client.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &gone})
	must(t, err)
	sh, err = sink.Open(dir, filepath.Join(t.TempDir(), "cursor"), b, nil)
	must(t, err)
	if _, err = sh.Round(t.Context()); err == nil {
		t.Error("a bucket that is not there took events")
	} else if text := fmt.Appendf(nil, "%v %+v %#v", err, err, err); len(canary.Found(text, canary.Sealed))+len(canary.Found(text, canary.Clear)) > 0 {
		t.Errorf("the error has canaries: %v", err)
	}
	must(t, sh.Close())
}
