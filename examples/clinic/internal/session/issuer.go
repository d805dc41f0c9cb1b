// Package session says who a request is from: it verifies JSON Web Tokens and turns them into a [tenant.Access].
//
// The issuer is a stand-in for an identity provider (OpenID Connect), so that the example runs by itself: it signs in whoever
// asks, as one of a few invented people. Replace it, and keep the [Verifier].
package session

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Audience is who the tokens are for: a token that was issued for another service is none here.
const Audience = "clinic"

// Lifetime is how long a token is good for.
const Lifetime = time.Hour

// Claims are those of a token, beyond the registered ones (RFC 7519). The subject is who acts.
type Claims struct {
	Tenant  string `json:"tenant,omitempty"`  // the clinic
	Purpose string `json:"purpose,omitempty"` // for what: it stands in the trail
	Role    string `json:"role,omitempty"`    // "reviewer" for who reads the trail, and has no clinic
}

// Person is somebody who can be signed in.
type Person struct {
	User, Name, Purpose string
}

// Issuer signs tokens with a key that is made when it starts.
type Issuer struct {
	url    string
	key    jose.JSONWebKey
	signer jose.Signer
	people []Person
}

// NewIssuer returns an issuer that calls itself url in the tokens.
func NewIssuer(url string, people []Person) (*Issuer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key := jose.JSONWebKey{Key: private, KeyID: rand.Text(), Algorithm: string(jose.EdDSA), Use: "sig"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	return &Issuer{url, key, signer, people}, nil
}

// Issue signs a token for somebody of a clinic.
func (i *Issuer) Issue(clinic, user string) (string, error) {
	for _, p := range i.people {
		if p.User == user {
			return i.sign(user, Claims{Tenant: clinic, Purpose: p.Purpose})
		}
	}
	return "", fmt.Errorf("session: nobody is called that here")
}

// IssueReviewer signs a token for who reads the trail of all clinics, and none of their records.
func (i *Issuer) IssueReviewer() (string, error) {
	return i.sign("reviewer", Claims{Role: "reviewer"})
}

func (i *Issuer) sign(user string, claims Claims) (string, error) {
	now := time.Now()
	return jwt.Signed(i.signer).Claims(jwt.Claims{
		Issuer: i.url, Subject: user, Audience: jwt.Audience{Audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(Lifetime)),
	}).Claims(claims).Serialize()
}

// Keys returns the public keys.
func (i *Issuer) Keys() jose.JSONWebKeySet {
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.key.Public()}}
}

// Handler serves the public keys as identity providers do, and tokens to whoever asks.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		json.NewEncoder(w).Encode(i.Keys())
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		token, err := i.Issue(r.PostFormValue("clinic"), r.PostFormValue("user"))
		if r.PostFormValue("role") == "reviewer" {
			token, err = i.IssueReviewer()
		}
		if err != nil {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Write([]byte(token))
	})
	return mux
}

var errNoToken = errors.New("session: nobody is signed in")
