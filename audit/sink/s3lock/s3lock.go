// Package s3lock delivers the events of an audit log to a bucket with S3 Object Lock, in which
// nobody deletes or overwrites them before their time, the bucket's owner included: a copy that
// outlives the machine and its administrators. A batch is an object of JSON lines, the log's own,
// named for the log and the indexes of its first and last event:
//
//	audit/example.com%2Fclinic/00000000000000000042-00000000000000000141.jsonl
//
// After a crash a batch may be delivered again with other bounds: then objects overlap, and have
// events with the same uid. Give the shipper a [sink.Options].Gather of a minute, and a Batch of
// some thousand events.
package s3lock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// Options are the settings of [Open].
type Options struct {
	// Retain is how long an object stays, from when it is written, rounded up to a second. At least
	// an hour. Required.
	Retain time.Duration
	// Governance has objects locked in governance mode, in which a user with
	// s3:BypassGovernanceRetention may delete them. Default: compliance mode, in which nobody may.
	Governance bool
	// Prefix is put before the objects' names. Default: "audit/".
	Prefix string
}

// bucket is a [sink.Sink].
type bucket struct {
	client *s3.Client
	name   string
	opts   Options
	mode   types.ObjectLockMode
	now    func() time.Time
}

// Open returns a sink that puts objects into a bucket, which must have been made with Object Lock.
// The client needs s3:PutObject and s3:PutObjectRetention there, s3:GetObject and
// s3:GetObjectRetention for what is there already, and s3:GetBucketObjectLockConfiguration. Its
// endpoint is https, or on this machine, and so is where a redirect leads, which a client of another type than net/http's and the SDK's
// sees to itself.
func Open(ctx context.Context, client *s3.Client, name string, opts Options) (sink.Sink, error) {
	if client == nil || name == "" {
		return nil, errors.New("s3lock: the client or the bucket's name is missing")
	}
	if opts.Retain < time.Hour {
		return nil, errors.New("s3lock: Options.Retain is below an hour; set it to how long the events must be kept")
	}
	if opts.Prefix == "" {
		opts.Prefix = "audit/"
	}
	client = encrypted(client)
	b := &bucket{client: client, name: name, opts: opts, mode: types.ObjectLockModeCompliance, now: time.Now}
	if opts.Governance {
		b.mode = types.ObjectLockModeGovernance
	}
	lock, err := client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode() == "ObjectLockConfigurationNotFoundError",
		err == nil && (lock.ObjectLockConfiguration == nil || lock.ObjectLockConfiguration.ObjectLockEnabled != types.ObjectLockEnabledEnabled):
		return nil, fmt.Errorf("s3lock: the bucket %s has no Object Lock: whoever may write to it could delete events; make a bucket with it", name)
	case err != nil:
		return nil, fmt.Errorf("s3lock: the bucket %s: %w", name, b.describe(err))
	}
	return b, nil
}

// encrypted returns a client that sends nothing in plaintext to another machine. What a request's host is, the SDK decides from more
// than the endpoint: it puts the bucket's name before localhost, which is for a resolver or a proxy to say where it is.
func encrypted(client *s3.Client) *s3.Client {
	o := client.Options()
	switch c := o.HTTPClient.(type) {
	case *http.Client:
		o.HTTPClient = notRedirected(c)
	case *awshttp.BuildableClient: // which makes a net/http client for each request, and follows some redirects
		o.HTTPClient = c.WithTransportOptions(func(t *http.Transport) {
			proxy := t.Proxy
			t.Proxy = func(r *http.Request) (*url.URL, error) { // it is asked before each request
				if err := checkPlaintext(r); err != nil || proxy == nil {
					return nil, err
				}
				return proxy(r)
			}
		})
	}
	o.HTTPClient = guarded{o.HTTPClient}
	return s3.New(o)
}

// notRedirected returns a client that no server leads into plaintext.
func notRedirected(client *http.Client) *http.Client {
	c, before := *client, client.CheckRedirect
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch err := checkPlaintext(r); {
		case err != nil:
			return err
		case before != nil:
			return before(r, via)
		case len(via) >= 10: // net/http's own bound
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &c
}

type guarded struct{ s3.HTTPClient }

func (g guarded) Do(r *http.Request) (*http.Response, error) {
	if err := checkPlaintext(r); err != nil {
		return nil, err
	}
	return g.HTTPClient.Do(r)
}

func checkPlaintext(r *http.Request) error {
	if r.URL.Scheme != "https" && !loopback.Is(r.URL.Hostname()) {
		return plaintextError{}
	}
	return nil
}

type plaintextError struct{}

func (plaintextError) Error() string {
	return "events would be sent in plaintext over the network; the client's endpoint has to be https, or on this machine with UsePathStyle"
}

// RetryableError tells the SDK not to try again.
func (plaintextError) RetryableError() bool { return false }

// describe returns a store's error as its code alone: its text may repeat names, and what signed the request.
func (b *bucket) describe(err error) error {
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		return fmt.Errorf("the store answered %s", api.ErrorCode())
	case errors.Is(err, plaintextError{}):
		return plaintextError{}
	}
	return redact.Error(err)
}

func (b *bucket) String() string { return "the bucket " + b.name }

// Close implements [sink.Sink].
func (b *bucket) Close() error { return nil }

// Deliver implements [sink.Sink].
func (b *bucket) Deliver(ctx context.Context, events []audit.Entry) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	var body bytes.Buffer
	for i := range events {
		body.Write(events[i].Raw)
		body.WriteByte('\n')
	}
	key := fmt.Sprintf("%s%s/%020d-%020d.jsonl", b.opts.Prefix, url.PathEscape(events[0].Log), events[0].Index, events[len(events)-1].Index)
	if err := b.put(ctx, key, body.Bytes()); err != nil {
		return 0, err
	}
	return len(events), nil
}

// put writes an object that is locked, and looks whether it is.
func (b *bucket) put(ctx context.Context, key string, body []byte) error {
	until := b.until()
	sum := sha256.Sum256(body)
	put, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("application/x-ndjson"), IfNoneMatch: aws.String("*"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])), ObjectLockMode: b.mode, ObjectLockRetainUntilDate: &until,
	})
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "PreconditionFailed" || api.ErrorCode() == "ConditionalRequestConflict") {
		// From a delivery whose answer was lost, or the crash of one.
		return b.same(ctx, key, nil, body)
	}
	if err != nil {
		return b.describe(err)
	}
	return b.same(ctx, key, put.VersionId, body)
}

// same looks whether an object is what was delivered, and has it stay for nearly as long as it should.
func (b *bucket) same(ctx context.Context, key string, version *string, body []byte) error {
	got, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key, VersionId: version})
	if err != nil {
		return b.describe(err)
	}
	defer got.Body.Close()
	data, err := io.ReadAll(io.LimitReader(got.Body, int64(len(body))+1))
	switch {
	case err != nil:
		return redact.Error(err)
	case !bytes.Equal(data, body):
		return fmt.Errorf("the object %s is there and is not the log's events: somebody else writes to the bucket", strings.TrimPrefix(key, b.opts.Prefix))
	}
	kept, err := b.lockOf(ctx, key, got.VersionId)
	if err == nil && kept != nil && kept.RetainUntilDate.Before(b.enough()) && b.asStrict(kept) {
		// It was delivered long ago, and the cursor was lost since; or another Retain was in force.
		kept.RetainUntilDate = aws.Time(b.until())
		_, err = b.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: &b.name, Key: &key, VersionId: got.VersionId, Retention: kept})
		if err == nil {
			kept, err = b.lockOf(ctx, key, got.VersionId)
		}
	}
	if err != nil {
		return b.describe(err)
	}
	if kept == nil || kept.RetainUntilDate.Before(b.enough()) || !b.asStrict(kept) {
		return fmt.Errorf("the object %s is there and is not locked as it should be: see what the store makes of Object Lock, and who else writes to the bucket", strings.TrimPrefix(key, b.opts.Prefix))
	}
	return nil
}

// until is when a lock ends that begins now.
func (b *bucket) until() time.Time {
	return b.now().Add(b.opts.Retain + time.Second - 1).Truncate(time.Second).UTC()
}

// enough is when the lock of what is there already may end: what a delivery has left that was interrupted counts from then on.
func (b *bucket) enough() time.Time {
	const longest = 30 * 24 * time.Hour
	return b.now().Add(b.opts.Retain - min(b.opts.Retain/2, longest))
}

func (b *bucket) asStrict(l *types.ObjectLockRetention) bool {
	return l.Mode == types.ObjectLockRetentionModeCompliance || b.mode == types.ObjectLockModeGovernance
}

// lockOf returns the lock of an object, nil for none.
func (b *bucket) lockOf(ctx context.Context, key string, version *string) (*types.ObjectLockRetention, error) {
	kept, err := b.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &b.name, Key: &key, VersionId: version})
	if b.unlocked(err) {
		return nil, nil
	}
	if err != nil || kept.Retention == nil || kept.Retention.RetainUntilDate == nil {
		return nil, err
	}
	return kept.Retention, nil
}

// unlocked tells whether an error says that an object has no retention.
func (b *bucket) unlocked(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (api.ErrorCode() == "NoSuchObjectLockConfiguration" || api.ErrorCode() == "ObjectLockConfigurationNotFoundError")
}
