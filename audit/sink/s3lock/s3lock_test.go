package s3lock_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/internal/sinktest"
	"github.com/strongroom-go/strongroom/audit/sink/s3lock"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLog(t *testing.T) (dir string, list []audit.Entry) {
	t.Helper()
	return sinktest.NewLog(t, 40, func(i int, e *audit.Event) {
		e.Request = fmt.Sprint(i)
	})
}

// newBucket makes a bucket. The server keeps it, and what is locked in it, in memory, and ends with the tests.
func newBucket(t *testing.T, client *s3.Client, name string, lock bool) string {
	t.Helper()
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &lock})
	must(t, err)
	return name
}

// TestLocked: all events are in objects that nobody deletes or replaces, also the ones that are
// delivered again after a crash.
func TestLocked(t *testing.T) {
	client := s3env.Server(t).Client(t)
	name := newBucket(t, client, "locked", true)
	dir, want := newLog(t)
	opts := s3lock.Options{Retain: 2 * time.Hour}
	b, err := s3lock.Open(t.Context(), client, name, opts)
	must(t, err)
	if n, err := b.Deliver(t.Context(), want[:15]); n != 15 || err != nil { // and the cursor was not written
		t.Fatalf("%d, %v", n, err)
	}
	for i := range 2 {
		sh, err := sink.Open(dir, filepath.Join(t.TempDir(), fmt.Sprint("cursor", i)), b, &sink.Options{Batch: 15})
		must(t, err)
		for n := 1; n > 0; {
			n, err = sh.Round(t.Context())
			must(t, err)
		}
		must(t, sh.Close())
	}
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &name})
	must(t, err)
	var got []string
	for _, o := range list.Contents {
		if !strings.HasPrefix(*o.Key, "audit/example.com%2Fclinic/000000") {
			t.Errorf("an object is named %s", *o.Key)
		}
		object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &name, Key: o.Key})
		must(t, err)
		for lines := bufio.NewScanner(object.Body); lines.Scan(); {
			got = append(got, lines.Text())
		}
		kept, err := client.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &name, Key: o.Key})
		must(t, err)
		if r := kept.Retention; r.Mode != types.ObjectLockRetentionModeCompliance || r.RetainUntilDate.Before(time.Now().Add(time.Hour)) {
			t.Errorf("%s is locked as %s until %v", *o.Key, r.Mode, r.RetainUntilDate)
		}
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: o.Key, VersionId: object.VersionId}); err == nil {
			t.Errorf("%s was deleted", *o.Key)
		}
		_, err = client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: &name, Key: o.Key, VersionId: object.VersionId, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: aws.Time(time.Now().Add(time.Second))}})
		if err == nil {
			t.Errorf("the lock of %s was shortened", *o.Key)
		}
	}
	if len(list.Contents) != (len(want)+14)/15 || len(got) != len(want) {
		t.Fatalf("%d objects with %d lines of %d events", len(list.Contents), len(got), len(want))
	}
	for i, line := range got {
		if line != string(want[i].Raw) {
			t.Errorf("line %d is %s", i, line)
		}
	}
}

// TestLockedAgain: what was delivered long ago, and comes again since a cursor was lost, is locked for as long as what is new,
// and stops nothing.
func TestLockedAgain(t *testing.T) {
	client := s3env.Server(t).Client(t)
	name := newBucket(t, client, "again", true)
	_, want := newLog(t)
	for _, retain := range []time.Duration{2 * time.Hour, 200 * time.Hour, 2 * time.Hour} { // the first is the rest of a longer one
		b, err := s3lock.Open(t.Context(), client, name, s3lock.Options{Retain: retain})
		must(t, err)
		if n, err := b.Deliver(t.Context(), want[:15]); n != 15 || err != nil {
			t.Errorf("%v: %d, %v", retain, n, err)
		}
	}
	key := fmt.Sprintf("audit/example.com%%2Fclinic/%020d-%020d.jsonl", 0, 14)
	kept, err := client.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &name, Key: &key})
	must(t, err)
	if r := kept.Retention; r.Mode != types.ObjectLockRetentionModeCompliance || r.RetainUntilDate.Before(time.Now().Add(199*time.Hour)) {
		t.Errorf("it is locked as %s until %v", r.Mode, r.RetainUntilDate)
	}
}

// TestTakenPlaces: what somebody else has put where a batch belongs is not taken for it, and
// neither is the batch itself without a lock.
func TestTakenPlaces(t *testing.T) {
	client := s3env.Server(t).Client(t)
	name := newBucket(t, client, "taken", true)
	_, want := newLog(t)
	b, err := s3lock.Open(t.Context(), client, name, s3lock.Options{Retain: 2 * time.Hour})
	must(t, err)
	var line bytes.Buffer
	line.Write(want[2].Raw)
	line.WriteByte('\n')
	for i, body := range map[int]io.ReadSeeker{1: strings.NewReader("nothing"), 2: bytes.NewReader(line.Bytes())} {
		key := fmt.Sprintf("audit/example.com%%2Fclinic/%020d-%020d.jsonl", i, i)
		put := &s3.PutObjectInput{Bucket: &name, Key: &key, Body: body}
		if i == 1 {
			put.ObjectLockMode, put.ObjectLockRetainUntilDate = types.ObjectLockModeCompliance, aws.Time(time.Now().Add(24*time.Hour))
		}
		_, err := client.PutObject(t.Context(), put)
		must(t, err)
		if n, err := b.Deliver(t.Context(), want[i:i+1]); n != 0 || err == nil || !strings.Contains(err.Error(), "who else writes") && !strings.Contains(err.Error(), "somebody else writes") {
			t.Errorf("object %d: %d, %v", i, n, err)
		}
	}
	if n, err := b.Deliver(t.Context(), want[3:4]); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestRefused: a bucket without a lock, one that is not there, and a connection in the clear.
func TestRefused(t *testing.T) {
	server := s3env.Server(t)
	client := server.Client(t)
	open := newBucket(t, client, "open", false)
	plain := s3.New(client.Options(), func(o *s3.Options) { o.BaseEndpoint = aws.String("http://s3.example.com") })
	for problem, try := range map[string]func() (sink.Sink, error){
		"no Object Lock": func() (sink.Sink, error) {
			return s3lock.Open(t.Context(), client, open, s3lock.Options{Retain: time.Hour})
		},
		"NoSuchBucket": func() (sink.Sink, error) {
			return s3lock.Open(t.Context(), client, "absent", s3lock.Options{Retain: time.Hour})
		},
		"Retain": func() (sink.Sink, error) { return s3lock.Open(t.Context(), client, open, s3lock.Options{}) },
		"plaintext": func() (sink.Sink, error) {
			return s3lock.Open(t.Context(), plain, open, s3lock.Options{Retain: time.Hour})
		},
	} {
		if _, err := try(); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), server.SecretKey) {
			t.Errorf("%s: %v", problem, err)
		}
	}
}

// TestNothingInPlaintext: where a request goes to, the SDK makes of more than the endpoint.
func TestNothingInPlaintext(t *testing.T) {
	for name, edit := range map[string]func(*s3.Options){
		"elsewhere":        func(o *s3.Options) { o.BaseEndpoint = aws.String("http://s3.example.com") },
		"beside localhost": func(o *s3.Options) { o.BaseEndpoint = aws.String("http://localhost:9000") },
		"without HTTPS":    func(o *s3.Options) { o.EndpointOptions.DisableHTTPS = true },
		"other letters":    func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String("http://LOCALHOST:9000"), true },
	} {
		client := s3.New(s3.Options{Region: "eu-central-1", Credentials: aws.AnonymousCredentials{}, HTTPClient: doer(func(r *http.Request) {
			t.Errorf("%s: a request to %s", name, r.URL)
		})}, edit)
		if _, err := s3lock.Open(t.Context(), client, "locked", s3lock.Options{Retain: time.Hour}); err == nil || !strings.Contains(err.Error(), "plaintext") {
			t.Errorf("%s: %v", name, err)
		}
	}
	asked := 0
	for _, edit := range []func(*s3.Options){
		func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String("http://localhost:9000"), true },
		func(o *s3.Options) { o.BaseEndpoint = aws.String("http://[::1]:9000") },
		func(o *s3.Options) { o.BaseEndpoint = aws.String("https://localhost:9000") },
	} {
		client := s3.New(s3.Options{Region: "eu-central-1", Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1,
			HTTPClient: doer(func(*http.Request) { asked++ })}, edit)
		if _, err := s3lock.Open(t.Context(), client, "locked", s3lock.Options{Retain: time.Hour}); err == nil || strings.Contains(err.Error(), "plaintext") {
			t.Error(err)
		}
	}
	if asked != 3 {
		t.Errorf("%d requests", asked)
	}
}

// doer is an HTTP client that sends nothing.
type doer func(*http.Request)

func (d doer) Do(r *http.Request) (*http.Response, error) {
	d(r)
	return nil, io.ErrUnexpectedEOF
}
