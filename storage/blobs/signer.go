package blobs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

const (
	// DefaultGrantLifetime is the default of [SignerOptions.MaxLifetime].
	DefaultGrantLifetime = 15 * time.Minute
	// MaxGrantLifetime is the longest [SignerOptions.MaxLifetime].
	MaxGrantLifetime = 24 * time.Hour
	// DefaultMaxUpload is the default of [Grant.MaxBytes], in bytes.
	DefaultMaxUpload = 100 << 20
)

// maxTokenLength bounds what is decoded; a token of the longest parts has about 2,900 bytes.
const maxTokenLength = 4096

// clockSkew is by how much the clocks of two processes may differ before one does not take the other's tokens.
const clockSkew = time.Minute

// Signer issues and opens the tokens by which a [Handler] serves and accepts objects. It is safe for concurrent use.
//
// A token holds the whole grant, sealed with an AEAD rather than merely signed: tokens travel in URLs, which end up in
// logs and browsers' histories, and the actor and the object's key are nobody's business there. Authenticated
// encryption is unforgeable as a MAC is (Bellare and Namprempre, ASIACRYPT 2000: INT-CTXT), and the keyset fixes
// the algorithm; nothing in a token chooses one.
type Signer struct {
	aead tink.AEAD
	max  time.Duration
	url  *url.URL // nil where there is none
	now  func() time.Time
}

// SignerOptions are the optional settings of [NewSigner].
type SignerOptions struct {
	// MaxLifetime is the longest that a token may live, both when it is issued and when it is used. Default
	// [DefaultGrantLifetime], at most [MaxGrantLifetime].
	MaxLifetime time.Duration
	// URL is where the [Handler] is reached, such as "https://files.example.org/objects". Required for
	// *blob.Bucket's SignedURL, which appends "?token=" and the token; else unused. It must be https, or on loopback.
	URL string
}

// NewSigner returns a signer with the given keyset: AES256-GCM or X-AES-GCM keys with 256 bits, which the application
// makes, keeps and rotates as it does its other secrets (aead.AES256GCMKeyTemplate makes one). Give it no other use.
// All processes that issue or take the tokens need it; a key that is disabled voids the tokens it sealed. opts may
// be nil.
func NewSigner(h *keyset.Handle, opts *SignerOptions) (*Signer, error) {
	if opts == nil {
		opts = &SignerOptions{}
	}
	s := &Signer{max: opts.MaxLifetime, now: time.Now}
	var problems []error
	if s.max == 0 {
		s.max = DefaultGrantLifetime
	}
	if s.max < 0 || s.max > MaxGrantLifetime {
		problems = append(problems, fmt.Errorf("blobs: SignerOptions.MaxLifetime is %v; use more than 0 and at most %v", opts.MaxLifetime, MaxGrantLifetime))
	}
	if opts.URL != "" {
		u, err := url.Parse(opts.URL)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			problems = append(problems, errors.New("blobs: SignerOptions.URL is not a URL with a host and without user, query and fragment"))
		case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Host)):
			problems = append(problems, errors.New("blobs: SignerOptions.URL is neither https nor on loopback; a token is worth what it opens"))
		}
		s.url = u
	}
	var err error
	if s.aead, err = grantAEAD(h); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

// grantAEAD makes the primitive of a keyset, all of whose keys must be 256-bit authenticated encryption: one weak key
// in it would be one with which tokens can be forged.
func grantAEAD(h *keyset.Handle) (tink.AEAD, error) {
	if h == nil {
		return nil, errors.New("blobs: NewSigner needs a keyset; make one with keyset.NewHandle(aead.AES256GCMKeyTemplate()) and keep it")
	}
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, errors.New("blobs: the signer's keyset cannot be read")
		}
		switch p := e.Key().Parameters().(type) {
		case *xaesgcm.Parameters:
		case *aesgcm.Parameters:
			if p.KeySizeInBytes() != 32 {
				return nil, fmt.Errorf("blobs: key %d of the signer's keyset has %d bits; use AES256-GCM", e.KeyID(), 8*p.KeySizeInBytes())
			}
		default:
			return nil, fmt.Errorf("blobs: key %d of the signer's keyset is neither AES256-GCM nor X-AES-GCM", e.KeyID())
		}
	}
	a, err := aead.New(h)
	if err != nil {
		return nil, errors.New("blobs: the signer's keyset makes no AEAD")
	}
	return a, nil
}

// Grant says what a token is for. Tenant, actor and purpose are those of the context that it is issued in.
type Grant struct {
	// Method is GET (which admits HEAD), PUT or DELETE. Required.
	Method string
	// Key is the one object the token is for. Required.
	Key string
	// Lifetime is how long the token is good for, in whole seconds. A transfer that has begun is not cut off. Default
	// and at most [SignerOptions.MaxLifetime].
	Lifetime time.Duration
	// MaxBytes is how long an object a PUT may make. Default [DefaultMaxUpload].
	MaxBytes int64
	// ContentType is what a PUT must carry. Default: what it likes.
	ContentType string
	// CreateOnly lets a PUT make the object but not replace one, so that the token is good for one success. The store
	// must know conditional writes.
	CreateOnly bool

	absentType bool // ContentType is empty, and the PUT's must be
}

// Sign issues a token for an object of a bucket that [Open] or [Wrap] returned, in the name of the access in ctx. A
// tenant that is suspended gets none, and nobody one whose issue is not in the audit trail. Neither is an issued token a promise: each use passes the guard as every access
// does, authorizer included, and is recorded with that tenant, actor and purpose, and "grant:", the token's id, "@",
// its time of issue and, after a space, as much of Access.Request as fits, as the request. Who holds the token can use
// it until it expires, so issue it late and briefly.
func (s *Signer) Sign(ctx context.Context, to *blob.Bucket, g Grant) (string, error) {
	if guarded(to) == nil {
		return "", errors.New("blobs: Sign needs a bucket that Open or Wrap returned; another is not guarded")
	}
	// By way of the portable type, since the bucket may be a prefixed view of the one we know: what is sealed into the
	// token is the object's whole key.
	return to.SignedURL(context.WithValue(ctx, signingKey{}, &signing{s, &g}), g.Key, nil)
}

// signing asks a bucket's SignedURL for a token instead of a URL. Nobody else can put one into a context.
type signing struct {
	signer *Signer
	grant  *Grant
}

type signingKey struct{}

// wholeKey returns the key that the guarded driver sees for a key of a bucket, which may be a prefixed view.
func wholeKey(ctx context.Context, of *blob.Bucket, key string) (string, error) {
	return of.SignedURL(context.WithValue(ctx, signingKey{}, (*signing)(nil)), key, nil)
}

// guarded returns the driver of this package behind a bucket, or nil.
func guarded(outer *blob.Bucket) (b *bucket) {
	if outer == nil || !outer.As(&b) {
		return nil
	}
	return b
}

// issue seals a grant for an access that was admitted, and returns the token and what is in it.
func (s *Signer) issue(access tenant.Access, label, key string, g *Grant) (string, *envelope.Grant, error) {
	sealed := envelope.Grant{
		Tenant: access.Tenant, Actor: access.Actor, Purpose: access.Purpose, Request: access.Request,
		Key: key, ContentType: g.ContentType, MaxBytes: g.MaxBytes, CreateOnly: g.CreateOnly,
		FixedType: g.ContentType != "" || g.absentType,
	}
	if err := s.complete(&sealed, g); err != nil {
		return "", nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", nil, fmt.Errorf("blobs: no randomness for a token's id: %w", err)
	}
	sealed.ID = id
	token, err := s.aead.Encrypt(envelope.AppendGrant(nil, &sealed), envelope.BlobGrantAD(nil, label))
	if err != nil {
		return "", nil, errors.New("blobs: seal the token")
	}
	return base64.RawURLEncoding.EncodeToString(token), &sealed, nil
}

// complete fills in the defaults and refuses what no token is issued for.
func (s *Signer) complete(sealed *envelope.Grant, g *Grant) error {
	invalid := func(format string, args ...any) error {
		return &codedError{gcerrors.InvalidArgument, "unusable grant", fmt.Sprintf("blobs: "+format, args...)}
	}
	if sealed.Method = grantMethod(g.Method); sealed.Method == 0 || g.Method == http.MethodHead {
		return invalid("Grant.Method is neither GET, PUT nor DELETE")
	}
	put := sealed.Method == envelope.GrantPut
	lifetime := g.Lifetime
	if lifetime == 0 {
		lifetime = s.max
	}
	switch {
	case lifetime < time.Second || lifetime > s.max:
		return invalid("Grant.Lifetime is %v; use from 1s to SignerOptions.MaxLifetime, which is %v", g.Lifetime, s.max)
	case !put && (g.MaxBytes != 0 || sealed.FixedType || g.CreateOnly):
		return invalid("Grant.MaxBytes, ContentType and CreateOnly are for PUT only")
	case g.MaxBytes < 0:
		return invalid("Grant.MaxBytes is negative")
	case len(g.ContentType) > 255:
		return invalid("Grant.ContentType has %d bytes, over the limit of 255", len(g.ContentType))
	}
	if put && g.MaxBytes == 0 {
		sealed.MaxBytes = DefaultMaxUpload
	}
	sealed.Issued = s.now().Unix()
	sealed.Expires = sealed.Issued + int64(lifetime/time.Second)
	return nil
}

func grantMethod(method string) envelope.GrantMethod {
	switch method {
	case http.MethodGet, http.MethodHead:
		return envelope.GrantGet
	case http.MethodPut:
		return envelope.GrantPut
	case http.MethodDelete:
		return envelope.GrantDelete
	default:
		return 0
	}
}

// errForged is of every token that is not genuine, and of none at all. Such a request has no tenant and no actor that
// could be recorded; whoever guesses should not fill the audit log either.
var errForged = errors.New("blobs: the token is missing, or no genuine token for this bucket")

// open returns the grant of a token for the bucket with the given label. Whether it is still good is not looked at.
func (s *Signer) open(label, token string) (*envelope.Grant, error) {
	if token == "" || len(token) > maxTokenLength || strings.ContainsAny(token, "\r\n") { // which the decoder skips
		return nil, errForged
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, errForged
	}
	plain, err := s.aead.Decrypt(sealed, envelope.BlobGrantAD(nil, label))
	if err != nil {
		return nil, errForged
	}
	g, err := envelope.ParseGrant(plain)
	if err != nil {
		return nil, errForged
	}
	return g, nil
}

// check tells whether a genuine token admits a request with the given method now.
func (s *Signer) check(g *envelope.Grant, method string) error {
	now := s.now()
	switch {
	case grantMethod(method) != g.Method:
		return &codedError{gcerrors.PermissionDenied, "refused: token for another method", "blobs: the token is for another method"}
	case now.Unix() >= g.Expires:
		return &codedError{gcerrors.PermissionDenied, "refused: token expired", "blobs: the token has expired"}
	case g.Expires > now.Add(s.max+clockSkew).Unix():
		return &codedError{gcerrors.PermissionDenied, "refused: token lives too long",
			"blobs: the token lives longer than SignerOptions.MaxLifetime allows; do the processes' clocks agree?"}
	}
	return nil
}

// grantName is what a token is called in the trail.
func grantName(g *envelope.Grant) string {
	return "grant:" + uuid.UUID(g.ID).String() + "@" + time.Unix(g.Issued, 0).UTC().Format("20060102T150405Z")
}

// accessOfGrant is the access that a use of the token is.
func accessOfGrant(g *envelope.Grant) tenant.Access {
	request := grantName(g)
	if g.Request != "" {
		request = strings.ToValidUTF8((request + " " + g.Request)[:min(len(request)+1+len(g.Request), tenant.MaxRequestLength)], "")
	}
	return tenant.Access{Tenant: g.Tenant, Actor: g.Actor, Purpose: g.Purpose, Request: request}
}
