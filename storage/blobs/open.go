package blobs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/internal/telemetry"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// MaxLabelLength is the longest [Options.Label], in bytes.
const MaxLabelLength = 256

// Options are the optional settings of [Open] and [Wrap], but for Label, which Wrap requires.
type Options struct {
	// Label is the application's name of the bucket, 1 to [MaxLabelLength] bytes of printable UTF-8. It is part of
	// what authenticates every object, and the bucket's name in the audit trail: objects open under the label they
	// were written with and no other, so give every bucket its own and keep it when the objects move to another
	// store. Required by Wrap. Default in Open: the URL without its query, and with the prefix parameter where there
	// is one, such as "s3://records" or "s3://records?prefix=eu/".
	Label string
	// SealNames seals the names that objects have in the store, each path segment by itself, so that they show neither
	// what they are called nor, but to who holds the tenant's keys, what belongs together beyond sharing a directory.
	// What it costs, and what it does not hide, is in the package documentation. It is for a bucket as a whole and for
	// good: a bucket whose objects have names of the other kind is refused. Tenants that an earlier version provisioned
	// need [keys.Keyring.Provision] once more. The key of names is rotated like others; see Sealed names in the package
	// documentation.
	SealNames bool
	// AttributesLimit is how many bytes an object's sealed attributes (metadata, content type, cache headers) may
	// have in the store. About 160 bytes plus 4/3 of what is in them is needed. Default [DefaultAttributesLimit],
	// which every store takes; GCS and Azure take 8 KB, files what you like.
	AttributesLimit int
	// InsecureAllowPlaintext lets Open accept a URL whose connection to the store is neither encrypted nor on loopback.
	// Contents are sealed all the same; the store's credentials, object names without SealNames, sizes and signatures
	// are not.
	InsecureAllowPlaintext bool
	// Signer makes the bucket's SignedURL work: it returns the signer's URL with a token for a [Handler], in the name
	// of the access in the context. Optional: without one SignedURL is refused. An expiry that is not given is
	// [SignerOptions.MaxLifetime], not gocloud.dev's hour.
	Signer *Signer
	// IfMatch makes a write or a deletion conditional on the version that was read, as [ResealOptions.IfMatch] does, and is that of
	// [Reseal] where that has none of its own: s3match.IfMatch for S3. With SealNames it, or SoleProcess, is needed for IfNotExist
	// while a tenant has two keys of names: without, such a write is refused with gcerrors.FailedPrecondition.
	IfMatch func(as func(any) bool, read *blob.Attributes) error
	// SoleProcess says that all that writes the bucket's objects, or deletes them, does so through this very bucket, in this
	// process. It is for stores without conditional writes, which are files and memory, and stands for IfMatch there.
	SoleProcess bool
}

// Open opens the bucket at a gocloud.dev URL, with the opener that the program has imported for its scheme, and wraps
// it as [Wrap] does. opts may be nil.
//
// A URL that has a "key" parameter (a bucket of one object), a user name, or asks for plaintext connections off
// loopback is refused. So are plaintext connections that gocloud.dev's openers would make because of the environment
// (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3, AZURE_STORAGE_*, STORAGE_EMULATOR_HOST, STORAGE_EMULATOR_HOST_GRPC) or of endpoint_url in
// AWS's configuration files, of any URL in Google's file of credentials (GOOGLE_APPLICATION_CREDENTIALS), and those to where AWS's credentials come from (AWS_ENDPOINT_URL_STS, _SSO, _SSO_OIDC and _SIGNIN where a role,
// a token or a session asks for them), and of all three clouds' machines (AWS_EC2_METADATA_SERVICE_ENDPOINT, GCE_METADATA_HOST, IDENTITY_ENDPOINT,
// MSI_ENDPOINT; link-local addresses are admitted). What other openers take from elsewhere, Open does not see.
func Open(ctx context.Context, rawURL string, guard storage.Guard, opts *Options) (*blob.Bucket, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's error repeats the URL.
		return nil, errors.New("blobs: the bucket's URL cannot be parsed; use a gocloud.dev bucket URL such as s3://name?region=eu-central-1")
	}
	if err := checkURL(u, o.InsecureAllowPlaintext); err != nil {
		return nil, err
	}
	if !o.InsecureAllowPlaintext {
		if err := checkEnvironment(u); err != nil {
			return nil, err
		}
	}
	if o.Label == "" {
		o.Label = labelOf(u)
	}
	if err := errors.Join(o.validate(), checkGuard(guard)); err != nil {
		return nil, err
	}
	inner, err := blob.OpenBucket(ctx, rawURL)
	if err != nil {
		// The opener's error may repeat what is in the URL.
		return nil, fmt.Errorf("blobs: open %s: %w", labelOf(u), redact.Opaque(err, redact.Secrets(u)...))
	}
	return Wrap(inner, guard, &o)
}

// Wrap returns a bucket whose objects live in inner, each under its tenant's prefix and sealed with its tenant's keys.
// It takes inner over: closing the bucket closes inner, and nothing else should write to it. opts is required for its
// Label.
//
// Inner must give every key an object of its own, as gocloud.dev's drivers do; blob.PrefixedBucket does too, and
// blob.SingleKeyBucket does not.
func Wrap(inner *blob.Bucket, guard storage.Guard, opts *Options) (*blob.Bucket, error) {
	b, err := wrap(inner, guard, opts)
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(b), nil
}

func wrap(inner *blob.Bucket, guard storage.Guard, opts *Options) (*bucket, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if inner == nil {
		return nil, errors.New("blobs: the inner bucket is nil; open one with a gocloud.dev/blob driver")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	g, err := gate.New(guard.Keys, guard.Audit, guard.Authorizer)
	if err != nil {
		return nil, err
	}
	if err := g.Observe(guard.Telemetry, telemetry.Store{Namespace: o.Label}); err != nil {
		return nil, err
	}
	checked, err := lru.New[tenant.ID, string](maxChecked)
	if err != nil {
		return nil, fmt.Errorf("blobs: make the cache of checked tenants: %w", err)
	}
	durable, err := lru.New[string, struct{}](maxDurable)
	if err != nil {
		return nil, fmt.Errorf("blobs: make the cache of directories: %w", err)
	}
	limit := o.AttributesLimit
	if limit == 0 {
		limit = DefaultAttributesLimit
	}
	var info os.FileInfo
	locks := &exclusion{}
	if inner.As(&info) {
		locks.files = &fileLocks{inner: inner}
	}
	return &bucket{inner: inner, onFiles: locks.files != nil, gate: g, label: o.Label, limit: limit, signer: o.Signer, buffers: new(buffers), sealNames: o.SealNames, checked: checked,
		exclusion: locks, durable: durable, ifMatch: o.IfMatch, soleProcess: o.SoleProcess}, nil
}

// checkGuard tells what is wrong with the guard before anything is opened.
func checkGuard(guard storage.Guard) error {
	_, err := gate.New(guard.Keys, guard.Audit, guard.Authorizer)
	return err
}

// validate reports all problems at once.
func (o *Options) validate() error {
	var problems []error
	switch {
	case o.Label == "":
		problems = append(problems, errors.New("blobs: Options.Label is empty; give the bucket a name that stays when its objects move"))
	case len(o.Label) > MaxLabelLength:
		problems = append(problems, fmt.Errorf("blobs: Options.Label has %d bytes, over the limit of %d; set a shorter one", len(o.Label), MaxLabelLength))
	case !utf8.ValidString(o.Label) || strings.ContainsFunc(o.Label, func(r rune) bool { return !unicode.IsPrint(r) }):
		problems = append(problems, errors.New("blobs: Options.Label is not printable UTF-8 text"))
	}
	if o.AttributesLimit < 0 {
		problems = append(problems, fmt.Errorf("blobs: Options.AttributesLimit is negative; leave it zero for %d", DefaultAttributesLimit))
	}
	if o.IfMatch != nil && o.SoleProcess {
		problems = append(problems, errors.New("blobs: Options has IfMatch and SoleProcess; a store with conditional writes needs IfMatch alone"))
	}
	if o.Signer != nil && o.Signer.url == nil {
		problems = append(problems, errors.New("blobs: Options.Signer has no SignerOptions.URL, which signed URLs begin with; set it"))
	}
	return errors.Join(problems...)
}

// labelOf is the default label: what of the URL names the place and is no setting.
func labelOf(u *url.URL) string {
	label := u.Scheme + "://" + u.Host + u.Path + u.Opaque
	if prefix := u.Query().Get("prefix"); prefix != "" {
		label += "?prefix=" + prefix
	}
	return label
}

// checkURL refuses what would weaken the bucket. Openers have their parameters in common: an endpoint is an http
// URL, and switching TLS off has one of a few names.
func checkURL(u *url.URL, insecure bool) error {
	if u.User != nil {
		return errors.New("blobs: the bucket's URL has a user name; credentials come from the opener's own sources")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("blobs: the parameters of the bucket's URL cannot be parsed")
	}
	if query.Has("key") {
		return errors.New(`blobs: the bucket's URL has the parameter "key", which gives all tenants the same object; remove it`)
	}
	if insecure {
		return nil
	}
	if name := plaintext(query); name != "" {
		return fmt.Errorf("blobs: the parameter %q of the bucket's URL asks for a connection that is not encrypted and not on loopback; "+
			"use https, or set Options.InsecureAllowPlaintext if something else protects it", name)
	}
	if besideLocalhost(query) {
		return errors.New(`blobs: the parameter "endpoint" of the bucket's URL is localhost, and the bucket's name would be put before that, which makes a name ` +
			"that a resolver or a proxy may have elsewhere, and the connection is not encrypted; add use_path_style=true, or give the address, 127.0.0.1")
	}
	return nil
}

// plaintext returns the name of the parameter by which a URL asks for plaintext off loopback, or "".
func plaintext(query url.Values) string {
	for name, values := range query {
		for _, v := range values {
			u, err := url.Parse(v)
			endpoint := name == "endpoint"
			switch {
			case endpoint && (err != nil || u.Host == ""):
				return name // not understood
			case err != nil || u.Host == "" || name == "prefix":
			case u.Scheme == "https" || isLoopback(u.Host):
			case endpoint || u.Scheme == "http":
				return name
			}
		}
	}
	// Switches of s3blob and azureblob: the value that keeps TLS on, and what makes another one harmless.
	for _, s := range []struct {
		name, safe string
		here       func(url.Values) bool
	}{
		{"disable_https", "false", endpointHere}, {"protocol", "https", domainHere}, {"localemu", "false", domainHere},
	} {
		for _, v := range query[s.name] {
			if v != s.safe && !s.here(query) {
				return s.name
			}
		}
	}
	return ""
}

// endpointHere reports whether there is an endpoint, and it is this machine.
func endpointHere(query url.Values) bool {
	for _, v := range query["endpoint"] {
		if u, err := url.Parse(v); err != nil || !isLoopback(u.Host) {
			return false
		}
	}
	return query.Has("endpoint")
}

// domainHere reports whether there is a domain of azureblob's, a host with or without a port, and it is this machine. The account's
// name is put before it, which makes a name or an address that is not, unless it begins with one of two or is an emulator's.
func domainHere(query url.Values) bool {
	for _, d := range query["domain"] {
		alone := strings.HasPrefix(d, "localhost") || strings.HasPrefix(d, "127.0.0.1") || on(query["localemu"])
		if !alone || !isLoopback(d) {
			return false
		}
	}
	return query.Has("domain")
}

// besideLocalhost reports whether a plaintext endpoint is localhost and the bucket's name would be put before it, as s3blob does but
// for an address.
func besideLocalhost(query url.Values) bool {
	for _, v := range query["endpoint"] {
		u, err := url.Parse(v)
		if err != nil || u.Hostname() != "localhost" || u.Scheme == "https" && !query.Has("disable_https") {
			continue
		}
		if !on(slices.Concat(query["use_path_style"], query["s3ForcePathStyle"])) {
			return true
		}
	}
	return false
}

// on reports whether a switch is there, and nowhere off.
func on(values []string) bool {
	for _, v := range values {
		if set, err := strconv.ParseBool(v); err != nil || !set {
			return false
		}
	}
	return len(values) > 0
}

// isLoopback takes a URL's host, with or without a port, and nothing else that could stand there.
func isLoopback(host string) bool {
	u, err := url.Parse("http://" + host)
	return err == nil && u.Host == host && loopback.Is(u.Hostname())
}
