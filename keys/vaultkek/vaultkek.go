// Package vaultkek keeps the tenants' key-encryption keys in HashiCorp Vault's Transit secrets engine, from which they never
// leave: one key for each tenant ([Open]), or one key from which Vault derives each tenant's ([OpenShared]).
//
// # A key of the tenant's own
//
// The key is aes256-gcm96, and its name is [Options.Prefix] and [tenant.ID.Segment]. Keys are made non-exportable, without
// plaintext backup, and not deletable; [KEK.Destroy] allows deletion in the act of destroying. Thousands of named keys are fine
// for Vault; millions are not (https://github.com/hashicorp/vault/issues/5746).
//
// There are no batches: Transit's batch_input is of one named key, whose path the request is sent to, and every tenant has its
// own, so that opening or rewrapping a thousand tenants is a thousand calls.
//
// # One key for all
//
// [OpenShared] is for very many small tenants. Vault has one key, however many they are, and opens up to 256 tenants by one call,
// so that a service warms up, and recovers from an outage, by hundredths of the calls. Provisioning makes nothing in Vault, and
// the service needs no right to make keys.
//
// What is lost by it: the key cannot be destroyed, or rotated, for one tenant. Shredding a tenant deletes its wrapped keys, and
// backups of the key store from before open as long as the versions of the key that there were are not destroyed, which takes
// an operator's act about all tenants: [keys.Keyring.DestroySharedKEK]. And whoever may use the key may use it for every tenant;
// no policy of Vault's can be for some of them. A tenant moves from one kind to the other by package routekek. One key is for
// one key store: destroying versions sees that nothing in that store needs them, and knows of no other.
//
// # In either case
//
// Vault's Transit loses associated data when it rewraps, and ignores the context of keys that are not derived;
// therefore neither is relied on, and the identity of what is wrapped is inside it.
//
// Where Vault is a cluster, the address is that of its load balancer; it may take requests to any node that is unsealed. When
// the leader is lost, calls fail with [keys.ErrUnavailable] until the others have elected another: about 15 s with the
// defaults of Vault's Raft storage, whose performance_multiplier shortens it. Then all goes on by itself, and nothing that
// was acknowledged is lost. Tenants in use need no Vault meanwhile.
//
// What the token must be allowed to do is in [Policy] and [SharedPolicy], and the tests run with exactly that.
package vaultkek

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/loopback"
	"github.com/strongroom-go/strongroom/internal/plainfile"
	"github.com/strongroom-go/strongroom/keys"
)

// Options are the optional settings of [Open]. The zero value of each field means its default.
type Options struct {
	// Mount is the path of the Transit engine. Default "transit".
	Mount string
	// Prefix begins the name of every key: 1 to 40 of a-z, 0-9, "-" and "_". Default "strongroom-". Of installations that share an engine none
	// may have a prefix that begins with another's: the other's [Policy] would be for its keys too, as "strongroom-*" is for "strongroom-eu-".
	Prefix string
	// Namespace is Vault Enterprise's namespace. Default: none.
	Namespace string
	// CAFile holds the PEM certificates that may have signed Vault's. Default: the system's.
	CAFile string
	// CertFile and KeyFile hold the PEM certificate and private key that this process shows to a Vault that asks for one
	// (mutual TLS). They are read anew for each connection, so that they may be replaced. Default: none.
	CertFile, KeyFile string
	// Timeout bounds one call, its retry included. Default 5 s.
	Timeout time.Duration
	// MaxRetries is how often a call is tried again after a network error, or an answer 412, 429 or 5xx, with 50 to
	// 250 ms in between, times the number of tries; negative for never. Default 1. What is not safe to do twice, a login and
	// the rotation of a KEK, is tried again only where it was not begun: no connection was made, or Vault limits the rate.
	// Nothing is tried again for which the answer names a later time.
	MaxRetries int
	// OnLogin, if set, is told of each login in the background, which happens when a token can be renewed no longer;
	// err is nil on success. It must be quick. That it panics, or ends its goroutine, has no effect; where what logs in
	// does, err says so.
	OnLogin func(err error)
	// InsecureAllowPlaintext admits an http address off the loopback interface: the token, and every root keyset
	// that is wrapped or unwrapped, then crosses the network for all to read.
	InsecureAllowPlaintext bool
}

const defaultPrefix = "strongroom-"

// KEK speaks to one Transit engine. It is safe for concurrent use. Close it to stop renewing its token.
type KEK struct {
	client *api.Client
	tls    *tls.Config // that the client speaks, nil for http
	auth   api.AuthMethod
	opts   Options

	logins logins
	cancel context.CancelFunc
	done   chan struct{} // closed when the renewal has ended
}

var _ keys.KEK = (*KEK)(nil)

// Open logs in at address, such as "https://vault.example.com:8200", and returns the KEK provider there. Auth is from
// [Token], [AppRole], [Kubernetes] or [JWT], or any of the vault/api/auth packages. Environment variables (VAULT_…) are
// not consulted. Until [KEK.Close] the login is renewed, and repeated when it can be renewed no longer. opts may be
// nil.
func Open(ctx context.Context, address string, auth api.AuthMethod, opts *Options) (*KEK, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	u, err := o.complete(address, auth)
	if err != nil {
		return nil, err
	}
	config, err := o.clientTLS()
	if err != nil {
		return nil, err
	}
	client, err := newClient(u, config, &o)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" {
		config = nil
	}
	k := &KEK{client: client, tls: config, auth: auth, opts: o, logins: logins{turn: make(chan struct{}, 1)}, done: make(chan struct{})}
	secret, err := k.login(ctx)
	if err != nil {
		return nil, err
	}
	var background context.Context
	background, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go k.renew(background, secret)
	return k, nil
}

// complete fills in defaults and reports all problems at once.
func (o *Options) complete(address string, auth api.AuthMethod) (*url.URL, error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Mount = strings.Trim(o.Mount, "/"); o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if !plain(o.Mount, "/") || strings.Contains(o.Mount, "//") {
		problem("Options.Mount must be of a-z, A-Z, 0-9, \"-\", \"_\" and \"/\"")
	}
	if !plain(o.Prefix, "") || len(o.Prefix) > 40 || strings.ToLower(o.Prefix) != o.Prefix {
		problem("Options.Prefix must be 1 to 40 of a-z, 0-9, \"-\" and \"_\"")
	}
	if o.Timeout < 0 {
		problem("Options.Timeout is negative; leave it zero for 5s")
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	switch {
	case o.MaxRetries == 0:
		o.MaxRetries = 1
	case o.MaxRetries < 0:
		o.MaxRetries = 0
	}
	if auth == nil {
		problem("auth is nil; pass one from vaultkek.Token, AppRole, Kubernetes or JWT")
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		problem("Options.CertFile and Options.KeyFile belong together; set both or neither")
	}
	u, err := o.checkAddress(address)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("vaultkek: %w", errors.Join(problems...))
	}
	return u, nil
}

func plain(s, more string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', strings.IndexByte(more, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// checkAddress never repeats an address that may hold a password.
func (o *Options) checkAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the address is no URL of the form https://host:port")
	case u.User != nil:
		return nil, errors.New("the address has a user name or password in it; remove it, and pass credentials as auth")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the address of %s has more than a scheme, host and port; the engine's path is Options.Mount", u.Host)
	case u.Scheme == "http" && !loopback.Is(u.Hostname()) && !o.InsecureAllowPlaintext:
		return nil, fmt.Errorf("the address http://%s would send the token and the tenants' root keysets in plaintext over the network; use https, or set Options.InsecureAllowPlaintext if the network itself is encrypted", u.Host)
	}
	return u, nil
}

// maxPEM bounds a file of certificates or of a key, in bytes: a system's authorities all together have some hundred thousand.
const maxPEM = 8 << 20

// clientTLS is how a client with these options speaks TLS.
func (o *Options) clientTLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := plainfile.Read(o.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("vaultkek: Options.CAFile: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("vaultkek: Options.CAFile: %s holds no PEM certificate", o.CAFile)
		}
		config.RootCAs = pool
	}
	if o.CertFile != "" {
		if _, err := o.certificate(); err != nil {
			return nil, fmt.Errorf("vaultkek: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.certificate() }
	}
	return config, nil
}

// newClient makes a client that takes nothing from the environment.
func newClient(u *url.URL, config *tls.Config, o *Options) (*api.Client, error) {
	// No proxy: http.ProxyFromEnvironment would let a variable say where tokens go.
	transport := &http.Transport{
		TLSClientConfig:     config.Clone(),
		TLSHandshakeTimeout: o.Timeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 32, // as many as a keyring's KEK calls
		IdleConnTimeout:     90 * time.Second,

		MaxResponseHeaderBytes: maxHeader,
	}
	client, err := api.NewClient(&api.Config{
		Address: u.Scheme + "://" + u.Host,
		HttpClient: &http.Client{
			Transport:     bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Timeout: o.Timeout, MaxRetries: o.MaxRetries, CheckRetry: retry,
		MinRetryWait: 50 * time.Millisecond, MaxRetryWait: 250 * time.Millisecond,
		// A standby's redirect may be followed to another TLS host, but never from loopback out into the open.
		DisableRedirects: u.Scheme != "https",
	})
	if err != nil {
		// The client's own error may quote the environment.
		return nil, errors.New("vaultkek: the Vault client could not be made; is a VAULT_… environment variable malformed?")
	}
	client.ClearToken()
	client.SetHeaders(http.Header{"X-Vault-Request": {"true"}})
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	return client, nil
}

// certificate reads the client's certificate. The error repeats nothing of the key.
func (o *Options) certificate() (*tls.Certificate, error) {
	cert, err := plainfile.Read(o.CertFile, maxPEM)
	var key []byte
	if err == nil {
		key, err = plainfile.Read(o.KeyFile, maxPEM)
	}
	defer clear(key)
	var c tls.Certificate
	if err == nil {
		c, err = tls.X509KeyPair(cert, key)
	}
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, &credentialError{fmt.Errorf("Options.CertFile and Options.KeyFile: %w", file)}
	case err != nil:
		return nil, &credentialError{fmt.Errorf("Options.CertFile and Options.KeyFile: %s and %s hold no PEM certificate and the private key to it", o.CertFile, o.KeyFile)}
	}
	return &c, nil
}

// Close stops renewing the token and forgets it. The token itself stays valid until it expires.
func (k *KEK) Close() error {
	k.cancel()
	<-k.done
	k.client.ClearToken()
	return nil
}
