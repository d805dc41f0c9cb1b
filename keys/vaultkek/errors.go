package vaultkek

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/keys"
)

// explain turns what the Vault client returned into an error that names the address and the path, says what to do,
// and carries the sentinel that callers look for. Vault's own words are repeated only where Vault chose them; the
// token, and what was to be wrapped, are in neither.
func (k *KEK) explain(ctx context.Context, err error, path string, capabilities ...string) error {
	where := fmt.Sprintf("Vault at %s, %s", k.client.Address(), path)
	if cerr := ctx.Err(); cerr != nil {
		return fmt.Errorf("%s: %w", where, cerr)
	}
	var (
		login      *loginError
		credential *credentialError
		response   *api.ResponseError
	)
	switch {
	case errors.As(err, &login):
		return fmt.Errorf("%s: the token has expired or was revoked: %w", where, login.error)
	case errors.As(err, &credential):
		return fmt.Errorf("%s: %w", where, credential.error)
	case errors.As(err, &response):
		return k.explainResponse(response, path, capabilities)
	}
	var (
		authority *x509.UnknownAuthorityError
		unknown   x509.UnknownAuthorityError
		hostname  x509.HostnameError
		record    tls.RecordHeaderError
		cert      *tls.CertificateVerificationError
		alert     *net.OpError
	)
	switch {
	case errors.As(err, &authority), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &cert):
		return fmt.Errorf("%s: its certificate is not trusted: set Options.CAFile to the authority's certificate, or correct the address: %w", where, err)
	case errors.As(err, &alert) && alert.Op == "remote error":
		return fmt.Errorf("%s: it ended the TLS handshake: set Options.CertFile and Options.KeyFile to a client certificate that it trusts and that has not expired: %w", where, alert)
	case errors.As(err, &record):
		return fmt.Errorf("%s: it does not speak TLS; correct the address's scheme or port", where)
	}
	return fmt.Errorf("%w: %s: %w", keys.ErrUnavailable, where, cause(err))
}

// cause is what went wrong on the way, without what the HTTP client and the decoder add: the address, that of a redirect,
// and pieces of the answer.
func cause(err error) error {
	var (
		onTheWay *url.Error
		network  net.Error
		syntax   *json.SyntaxError
		kind     *json.UnmarshalTypeError
	)
	way := errors.As(err, &onTheWay)
	for errors.As(err, &onTheWay) {
		err = onTheWay.Err
	}
	switch {
	case errors.As(err, &syntax), errors.As(err, &kind), strings.HasPrefix(err.Error(), "json: "):
		return errShape
	case !way, errors.As(err, &network), errors.Is(err, errTooLarge), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return errors.New("it does not speak HTTP as Vault does, or a header of its answer is too large")
}

func (k *KEK) explainResponse(r *api.ResponseError, path string, capabilities []string) error {
	if !vaults(r) {
		return fmt.Errorf("%w: Vault at %s, %s, status %d: %w", keys.ErrUnavailable, k.client.Address(), path, r.StatusCode, errNotVault)
	}
	said := words(r)
	where := fmt.Sprintf("Vault at %s, %s, status %d%s", k.client.Address(), path, r.StatusCode, said)
	switch {
	case strings.Contains(said, "no handler for route"):
		return fmt.Errorf("%s: nothing is mounted there: run `vault secrets enable -path=%s transit`, or correct Options.Mount", where, k.opts.Mount)
	case strings.Contains(said, "Vault is sealed"):
		return fmt.Errorf("%w: %s: unseal it", keys.ErrUnavailable, where)
	case invalidToken(r):
		return fmt.Errorf("%s: the token has expired or was revoked; start the process with a new one, or use AppRole, which logs in again by itself", where)
	case r.StatusCode == http.StatusForbidden && len(capabilities) == 0:
		return fmt.Errorf("%s: the login was refused; check the role, its secret and its policies", where)
	case r.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: the token's policy lacks\n%s", where, rule(k.opts.glob(path), capabilities))
	case r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %s", keys.ErrNotFound, where)
	case r.StatusCode == http.StatusRequestTimeout, r.StatusCode == http.StatusTooEarly,
		r.StatusCode == http.StatusPreconditionFailed, r.StatusCode == http.StatusTooManyRequests, r.StatusCode >= 500, r.StatusCode == 473, r.StatusCode == 472:
		return fmt.Errorf("%w: %s", keys.ErrUnavailable, where)
	}
	return errors.New(where)
}

// errNotVault is like those of answer.go, for answers that are errors.
var errNotVault = errors.New("the answer is none of Vault's, but that of a proxy or another server in its place")

// vaults reports whether a refusal is Vault's own, which has a list of errors, if an empty one. A proxy's page that is not
// found does not mean that a key is not.
func vaults(r *api.ResponseError) bool { return !r.RawError && r.Errors != nil }

// words are what Vault says, shortened. A body that is not Vault's is left out.
func words(r *api.ResponseError) string {
	if !vaults(r) || len(r.Errors) == 0 {
		return ""
	}
	text := strings.Join(strings.Fields(strings.Join(r.Errors, "; ")), " ")
	return " (" + text[:min(len(text), 200)] + ")"
}

func invalidToken(r *api.ResponseError) bool {
	return vaults(r) && r.StatusCode == http.StatusForbidden && slices.ContainsFunc(r.Errors, func(s string) bool { return strings.Contains(s, "invalid token") })
}

// says reports whether err is an answer of Vault with the status and, among its words, one of the texts.
func says(err error, status int, texts ...string) bool {
	var r *api.ResponseError
	if !errors.As(err, &r) || r.StatusCode != status {
		return false
	}
	said := words(r)
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(said, t) })
}
