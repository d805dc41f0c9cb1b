package kmskek_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/kmskek"
	"github.com/strongroom-go/strongroom/tenant"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var acme, other = tenant.MustParse("acme"), tenant.MustParse("other")

// answer is an error of a key service as AWS's client has them.
type answer string

func (a answer) Error() string     { return "the service says " + string(a) }
func (a answer) ErrorCode() string { return string(a) }

// state is what AWS says of a key that is in none in which it can be used.
type state string

func (s state) Error() string {
	return "KMSInvalidStateException: arn:aws:kms:eu-central-1:111122223333:key/1234 " + string(s)
}
func (state) ErrorCode() string { return "KMSInvalidStateException" }

// service is a key service in memory. The real clients of AWS and Google Cloud are in the module kmstest.
type service struct {
	mu     sync.Mutex
	keys   map[string]*keyset.Handle
	fails  error
	hangs  chan struct{} // where it is not nil, calls wait for it
	legacy bool          // its keys know no context
}

func newService() *service { return &service{keys: map[string]*keyset.Handle{}} }

func uri(id tenant.ID) (string, error) { return "test-kms://" + id.String(), nil }

func (s *service) Supported(uri string) bool { return strings.HasPrefix(uri, "test-kms://") }

func (s *service) GetAEAD(uri string) (tink.AEAD, error) {
	if s.legacy {
		return plain{key{s, uri}}, nil
	}
	return key{s, uri}, nil
}

func (s *service) change(uri string, newKey bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := keyset.NewManager()
	switch h := s.keys[uri]; {
	case h != nil && !newKey:
		return nil
	case h != nil:
		m = keyset.NewManagerFromHandle(h)
	case newKey:
		return answer("NotFoundException")
	}
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err == nil {
		s.keys[uri], err = m.Handle()
	}
	return err
}

// key is one at the service.
type key struct {
	s   *service
	uri string
}

func (k key) primitive(ctx context.Context) (tink.AEAD, error) {
	if k.s.hangs != nil {
		select {
		case <-k.s.hangs:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	h := k.s.keys[k.uri]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case k.s.fails != nil:
		return nil, k.s.fails
	case h == nil:
		return nil, answer("NotFoundException")
	}
	return aead.New(h)
}

func (k key) EncryptWithContext(ctx context.Context, plaintext, ad []byte) ([]byte, error) {
	p, err := k.primitive(ctx)
	if err != nil {
		return nil, err
	}
	return p.Encrypt(plaintext, ad)
}

func (k key) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	p, err := k.primitive(ctx)
	if err != nil {
		return nil, err
	}
	out, err := p.Decrypt(ciphertext, ad)
	if err != nil {
		return nil, answer("InvalidCiphertextException")
	}
	return out, nil
}

func (k key) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return k.EncryptWithContext(context.Background(), plaintext, ad)
}

func (k key) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	return k.DecryptWithContext(context.Background(), ciphertext, ad)
}

// plain is a key of a client that passes no context.
type plain struct{ k key }

func (p plain) Encrypt(plaintext, ad []byte) ([]byte, error)  { return p.k.Encrypt(plaintext, ad) }
func (p plain) Decrypt(ciphertext, ad []byte) ([]byte, error) { return p.k.Decrypt(ciphertext, ad) }

// managed are options with which this process may do everything.
func (s *service) managed() *kmskek.Options {
	of := func(id tenant.ID) string { u, _ := uri(id); return u }
	return &kmskek.Options{
		Create: func(_ context.Context, id tenant.ID) error { return s.change(of(id), false) },
		Rotate: func(_ context.Context, id tenant.ID) error { return s.change(of(id), true) },
		Destroy: func(_ context.Context, id tenant.ID) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.keys, of(id))
			return nil
		},
	}
}

func TestConformance(t *testing.T) {
	for name, legacy := range map[string]bool{"context": false, "no context": true} {
		t.Run(name, func(t *testing.T) {
			kektest.Run(t, func(t testing.TB) keys.KEK {
				s := newService()
				s.legacy = legacy
				kek, err := kmskek.New(s, uri, s.managed())
				must(t, err)
				return kek
			})
		})
	}
}

// TestOneKeyForMany is that tenants with one key at the service are told apart all the same.
func TestOneKeyForMany(t *testing.T) {
	s := newService()
	must(t, s.change("test-kms://one", false))
	kek, err := kmskek.New(s, func(tenant.ID) (string, error) { return "test-kms://one", nil }, nil)
	must(t, err)
	wrapped, err := kek.Wrap(t.Context(), acme, []byte("keys"))
	must(t, err)
	if got, err := kek.Unwrap(t.Context(), acme, wrapped); err != nil || string(got) != "keys" {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := kek.Unwrap(t.Context(), other, wrapped); !errors.Is(err, keys.ErrIntegrity) || got != nil {
		t.Errorf("as another tenant: %q, %v", got, err)
	}
}

// TestOwners is a key that this process does not manage.
func TestOwners(t *testing.T) {
	s := newService()
	kek, err := kmskek.New(s, uri, nil)
	must(t, err)
	if err := kek.Create(t.Context(), acme); !errors.Is(err, keys.ErrNotFound) {
		t.Errorf("Create where the owner has made none: %v", err)
	}
	must(t, s.change("test-kms://acme", false))
	must(t, kek.Create(t.Context(), acme))
	first, err := kek.Wrap(t.Context(), acme, []byte("keys"))
	must(t, err)
	for what, err := range map[string]error{"Rotate": kek.Rotate(t.Context(), acme), "Destroy": kek.Destroy(t.Context(), acme)} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "Options."+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, s.change("test-kms://acme", true))
	again, err := kek.Rewrap(t.Context(), acme, first)
	must(t, err)
	if got, err := kek.Unwrap(t.Context(), acme, again); err != nil || string(got) != "keys" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestClasses is what becomes of the errors of services.
func TestClasses(t *testing.T) {
	refused := errors.New("an answer that is none of these")
	for _, c := range []struct {
		err  error
		want error
	}{
		{answer("NotFoundException"), keys.ErrNotFound},
		{answer("AccessDeniedException"), refused}, {answer("DisabledException"), refused},
		{state("is pending deletion."), keys.ErrNotFound}, {state("is pending replica deletion."), keys.ErrNotFound},
		{state("is unavailable."), refused}, {state("is pending import."), refused}, {answer("KMSInvalidStateException"), refused},
		{fmt.Errorf("the client: %w", state("is pending deletion.")), keys.ErrNotFound},
		{answer("InvalidCiphertextException"), keys.ErrIntegrity}, {answer("IncorrectKeyException"), keys.ErrIntegrity},
		{answer("ThrottlingException"), keys.ErrUnavailable}, {answer("KMSInternalException"), keys.ErrUnavailable}, {answer("KeyUnavailableException"), keys.ErrUnavailable},
		{status.Error(codes.NotFound, ""), keys.ErrNotFound}, {status.Error(codes.PermissionDenied, ""), refused},
		{status.Error(codes.FailedPrecondition, "current state is: DISABLED"), refused},
		// A disabled key may be called so.
		{status.Error(codes.FailedPrecondition, "projects/p/locations/eu/keyRings/DESTROYED/cryptoKeys/DESTROY_ME/cryptoKeyVersions/1 is not enabled, current state is: DISABLED."), refused},
		{status.Error(codes.FailedPrecondition, "projects/p/locations/eu/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1 is not enabled, current state is: DESTROYED."), keys.ErrNotFound},
		{&googleapi.Error{Code: 400, Body: `{"error":{"message":"projects/p/locations/eu/keyRings/DESTROYED/cryptoKeys/DESTROYED is not enabled, current state is: DISABLED.","status":"FAILED_PRECONDITION"}}`}, refused},
		{&googleapi.Error{Code: 400, Body: `{"error":{"message":"keyRings/DESTROYED: the ciphertext is invalid","status":"INVALID_ARGUMENT"}}`}, keys.ErrIntegrity},
		{status.Error(codes.FailedPrecondition, "current state is: DESTROY_SCHEDULED"), keys.ErrNotFound}, {status.Error(codes.InvalidArgument, ""), keys.ErrIntegrity},
		{status.Error(codes.Unavailable, ""), keys.ErrUnavailable}, {status.Error(codes.ResourceExhausted, ""), keys.ErrUnavailable},
		{&googleapi.Error{Code: 404}, keys.ErrNotFound}, {&googleapi.Error{Code: 403}, refused}, {&googleapi.Error{Code: 400}, keys.ErrIntegrity},
		{&googleapi.Error{Code: 400, Body: `{"error":{"status":"FAILED_PRECONDITION"}}`}, refused},
		{&googleapi.Error{Code: 400, Body: `{"error":{"message":"current state is: DESTROYED","status":"FAILED_PRECONDITION"}}`}, keys.ErrNotFound},
		{&googleapi.Error{Code: 429}, keys.ErrUnavailable}, {&googleapi.Error{Code: 503}, keys.ErrUnavailable},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, keys.ErrUnavailable},
		{errors.New("who knows"), refused},
	} {
		s := newService()
		must(t, s.change("test-kms://acme", false))
		kek, err := kmskek.New(s, uri, nil)
		must(t, err)
		wrapped, err := kek.Wrap(t.Context(), acme, []byte("keys"))
		must(t, err)
		s.fails = c.err
		for what, call := range map[string]func() error{
			"Wrap":   func() error { _, err := kek.Wrap(t.Context(), acme, []byte("keys")); return err },
			"Unwrap": func() error { _, err := kek.Unwrap(t.Context(), acme, wrapped); return err },
			"Rewrap": func() error { _, err := kek.Rewrap(t.Context(), acme, wrapped); return err },
		} {
			err := call()
			got := refused
			for _, class := range []error{keys.ErrNotFound, keys.ErrIntegrity, keys.ErrUnavailable} {
				if errors.Is(err, class) {
					got = class
				}
			}
			if err == nil || got != c.want {
				t.Errorf("%s, %v: %v", what, c.err, err)
			}
		}
	}
}

// TestHanging is a service that does not answer, through a client that may not know how to stop.
func TestHanging(t *testing.T) {
	for name, legacy := range map[string]bool{"context": false, "no context": true} {
		t.Run(name, func(t *testing.T) {
			s := newService()
			s.legacy, s.hangs = legacy, make(chan struct{})
			defer close(s.hangs)
			kek, err := kmskek.New(s, uri, &kmskek.Options{Timeout: 50 * time.Millisecond})
			must(t, err)
			if _, err := kek.Wrap(t.Context(), acme, []byte("keys")); !errors.Is(err, keys.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

// breaks is a client whose keys do not return.
type breaks struct{ how func() }

func (breaks) Supported(string) bool                       { return true }
func (b breaks) GetAEAD(string) (tink.AEAD, error)         { return b, nil }
func (b breaks) Encrypt([]byte, []byte) ([]byte, error)    { b.how(); return nil, nil }
func (b breaks) Decrypt(_, _ []byte) (_ []byte, err error) { b.how(); return nil, nil }

// TestAKeyThatDoesNotReturn, of a client that passes no context, ends no process, and nobody waits for it.
func TestAKeyThatDoesNotReturn(t *testing.T) {
	for does, how := range map[string]func(){"panicked": func() { panic("canary of the application's") }, "ended its goroutine": runtime.Goexit} {
		t.Run(does, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kek, err := kmskek.New(breaks{how}, uri, nil)
				must(t, err)
				began := time.Now()
				_, err = kek.Wrap(t.Context(), acme, []byte("keys"))
				if !errors.Is(err, keys.ErrUnavailable) || !strings.Contains(err.Error(), does) || strings.Contains(err.Error(), "canary") {
					t.Error(err)
				}
				if waited := time.Since(began); waited > 0 {
					t.Errorf("somebody waited for %v", waited)
				}
			})
		})
	}
}

func TestNew(t *testing.T) {
	s := newService()
	if _, err := kmskek.New(nil, uri, nil); err == nil {
		t.Error("no client")
	}
	if _, err := kmskek.New(s, nil, nil); err == nil {
		t.Error("no URIs")
	}
	if _, err := kmskek.New(s, uri, &kmskek.Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout")
	}
	kek, err := kmskek.New(s, func(tenant.ID) (string, error) { return "other-kms://key", nil }, nil)
	must(t, err)
	if _, err := kek.Wrap(t.Context(), acme, []byte("keys")); err == nil || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("another service's URI: %v", err)
	}
}

// TestShred is a tenant that is shredded: not before its key is gone, or is to be.
func TestShred(t *testing.T) {
	s := newService()
	o := s.managed()
	o.Destroy = func(context.Context, tenant.ID) error { return nil }
	kek, err := kmskek.New(s, uri, o)
	must(t, err)
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(t, err)
	defer ring.Close()
	for _, id := range []tenant.ID{acme, other} {
		must(t, ring.Provision(t.Context(), id))
	}
	for _, says := range []string{"still opens", "still encrypts"} { // and again
		if err := ring.Shred(t.Context(), acme, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("a key that is still there: %v", err)
		}
	}
	for _, fails := range []error{answer("AccessDeniedException"), answer("KMSInternalException"), state("is unavailable."), answer("KMSInvalidStateException")} {
		s.fails = fails
		if err := ring.Shred(t.Context(), other, ""); err == nil {
			t.Errorf("%v is taken for the end of a key", fails)
		}
	}
	s.fails = state("is pending deletion.")
	must(t, ring.Shred(t.Context(), acme, ""))
}
