package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// algorithms is the allow-list: what a token says of itself chooses nothing. "none" and HMAC, which would take the public key
// for a secret, are not on it.
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA}

// Skew is how far this machine's clock and the issuer's may be apart.
const Skew = 30 * time.Second

// KeySource returns the issuer's public key of an id. An error is that it could not be asked; no key is none.
type KeySource func(ctx context.Context, id string) (*jose.JSONWebKey, error)

// Fixed is the source of keys that are known.
func Fixed(set jose.JSONWebKeySet) KeySource {
	return func(_ context.Context, id string) (*jose.JSONWebKey, error) { return one(set, id), nil }
}

func one(set jose.JSONWebKeySet, id string) *jose.JSONWebKey {
	keys := set.Key(id)
	if id == "" || len(keys) != 1 || !keys[0].IsPublic() || !keys[0].Valid() {
		return nil
	}
	return &keys[0]
}

// Verifier verifies tokens of one issuer.
type Verifier struct {
	Issuer string
	Keys   KeySource
	Now    func() time.Time // nil for time.Now
}

// Identity is what a token proves.
type Identity struct {
	Claims
	Subject string
	Expires time.Time
}

// errRefused is all that is said of a token, to whoever sent it: details would help a forger.
var errRefused = errors.New("session: the token is refused")

// refused is errRefused with what the log is told. It holds nothing of the token.
func refused(why string) error { return fmt.Errorf("%w: %s", errRefused, why) }

// Verify returns what a token proves. All of this must hold: a signature by an algorithm of the list and a key of the issuer's,
// the issuer, the audience, a time that is between its beginning and its end, which it must have, a subject, and no longer life than
// the issuer gives.
func (v *Verifier) Verify(ctx context.Context, token string) (*Identity, error) {
	if token == "" {
		return nil, errNoToken
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, refused("it is no signed token of an algorithm that is taken")
	}
	if len(parsed.Headers) != 1 {
		return nil, refused("it has not one header")
	}
	header := parsed.Headers[0]
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, "JWT") {
		return nil, refused("it is of another type")
	}
	// The key that a token may carry itself (jwk, x5c) is not looked at: the id is looked up among the issuer's.
	key, err := v.Keys(ctx, header.KeyID)
	if err != nil {
		return nil, fmt.Errorf("session: the issuer's keys: %w", err)
	}
	if key == nil || key.Algorithm != header.Algorithm {
		return nil, refused("it is signed by a key that the issuer does not have")
	}
	var std jwt.Claims
	var id Identity
	if err := parsed.Claims(key.Key, &std, &id.Claims); err != nil {
		return nil, refused("its signature is wrong")
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	expected := jwt.Expected{Issuer: v.Issuer, AnyAudience: jwt.Audience{Audience}, Time: now}
	if err := std.ValidateWithLeeway(expected, Skew); err != nil {
		return nil, refused(strings.TrimPrefix(err.Error(), "go-jose/go-jose/jwt: "))
	}
	switch { // what go-jose takes for optional
	case std.Issuer == "" || std.Subject == "":
		return nil, refused("it has no issuer or no subject")
	case std.Expiry == nil || std.IssuedAt == nil:
		return nil, refused("it has no end or no beginning")
	case std.Expiry.Time().Sub(std.IssuedAt.Time()) > Lifetime:
		return nil, refused("it lives longer than the issuer's do")
	case (id.Tenant == "") == (id.Role == ""):
		return nil, refused("it is neither of a clinic nor of a reviewer, or of both")
	}
	id.Subject, id.Expires = std.Subject, std.Expiry.Time()
	return &id, nil
}
