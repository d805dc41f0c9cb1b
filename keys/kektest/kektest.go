// Package kektest is the conformance suite of [keys.KEK]. Every implementation passes it; run it from the tests of your
// own:
//
//	func TestConformance(t *testing.T) {
//		kektest.Run(t, func(t testing.TB) keys.KEK { … })
//	}
package kektest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// secret is the plaintext of most tests, and must appear in no error.
const secret = "kektest-canary-plaintext"

// lookalikes are ids that careless key names confuse.
var lookalikes = []tenant.ID{
	tenant.MustParse("acme"), tenant.MustParse("ACME"), tenant.MustParse("acme-1"), tenant.MustParse("acme_1"),
	tenant.MustParse("acme.1"), tenant.MustParse("acme:1"), tenant.MustParse("acme@1"), tenant.MustParse("acme1"),
	tenant.MustParse(strings.Repeat("A", tenant.MaxIDLength)), tenant.MustParse(strings.Repeat("A", tenant.MaxIDLength-1) + "a"),
}

// Run runs the suite. Open is called once for each test and returns a provider that has none of the suite's tenants.
func Run(t *testing.T, open func(t testing.TB) keys.KEK) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"WrapAndUnwrap", wrapAndUnwrap}, {"CreateTwice", createTwice}, {"Tenants", tenants}, {"Missing", missing}, {"Tampered", tampered},
		{"Rotate", rotate}, {"Destroy", destroy}, {"ZeroID", zeroID}, {"Cancelled", cancelled}, {"Concurrent", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(&suite{t, open(t), t.Context()}) })
	}
}

type suite struct {
	*testing.T
	kek keys.KEK
	ctx context.Context
}

func (s *suite) create(id tenant.ID) {
	s.Helper()
	if err := s.kek.Create(s.ctx, id); err != nil {
		s.Fatalf("Create: %v", err)
	}
}

func (s *suite) wrap(id tenant.ID, plaintext string) []byte {
	s.Helper()
	wrapped, err := s.kek.Wrap(s.ctx, id, []byte(plaintext))
	if err != nil {
		s.Fatalf("Wrap: %v", err)
	}
	if len(plaintext) > 2 && bytes.Contains(wrapped, []byte(plaintext)) { // shorter ones are there by chance
		s.Fatal("what Wrap returns contains the plaintext")
	}
	return wrapped
}

func (s *suite) unwraps(id tenant.ID, wrapped []byte, want string) {
	s.Helper()
	got, err := s.kek.Unwrap(s.ctx, id, bytes.Clone(wrapped))
	if err != nil {
		s.Fatalf("Unwrap: %v", err)
	}
	if string(got) != want {
		s.Fatalf("Unwrap returned %d bytes that are not the %d wrapped", len(got), len(want))
	}
}

// fails checks an error: what it wraps, and that it repeats nothing secret.
func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: got the error %v, want one that wraps %q", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		s.Errorf("%s: the error repeats the plaintext", what)
	}
}

func wrapAndUnwrap(s *suite) {
	id := lookalikes[0]
	s.create(id)
	for _, n := range []int{1, 15, 16, 17, 300, 16 << 10} {
		plaintext := strings.Repeat("k", n-1) + "\x00"
		s.unwraps(id, s.wrap(id, plaintext), plaintext)
	}
	if a, b := s.wrap(id, secret), s.wrap(id, secret); bytes.Equal(a, b) {
		s.Error("wrapping the same twice gave the same: it is not randomized")
	}
	if _, err := s.kek.Wrap(s.ctx, id, make([]byte, 16<<10+1)); err == nil {
		s.Error("Wrap accepted more than 16 KiB")
	}
}

func createTwice(s *suite) {
	id := lookalikes[0]
	s.create(id)
	wrapped := s.wrap(id, secret)
	s.create(id)
	s.unwraps(id, wrapped, secret)
}

// tenants: nothing of one tenant opens as another's.
func tenants(s *suite) {
	wrapped := make([][]byte, len(lookalikes))
	for i, id := range lookalikes {
		s.create(id)
		wrapped[i] = s.wrap(id, secret+id.String())
	}
	for i, id := range lookalikes {
		s.unwraps(id, wrapped[i], secret+id.String())
		for j, other := range lookalikes {
			if i == j {
				continue
			}
			_, err := s.kek.Unwrap(s.ctx, other, wrapped[i])
			s.fails("Unwrap of another tenant's", err, keys.ErrIntegrity)
			_, err = s.kek.Rewrap(s.ctx, other, wrapped[i])
			s.fails("Rewrap of another tenant's", err, keys.ErrIntegrity)
		}
	}
}

func missing(s *suite) {
	id, other := lookalikes[0], lookalikes[1]
	s.create(other)
	wrapped := s.wrap(other, secret)
	_, err := s.kek.Wrap(s.ctx, id, []byte(secret))
	s.fails("Wrap without a key", err, keys.ErrNotFound)
	_, err = s.kek.Unwrap(s.ctx, id, wrapped)
	s.fails("Unwrap without a key, after Wrap without one", err, keys.ErrNotFound)
	_, err = s.kek.Rewrap(s.ctx, id, wrapped)
	s.fails("Rewrap without a key", err, keys.ErrNotFound)
	s.fails("Rotate without a key", s.kek.Rotate(s.ctx, id), keys.ErrNotFound)
	if err := s.kek.Destroy(s.ctx, id); err != nil {
		s.Errorf("Destroy without a key: %v", err)
	}
}

func tampered(s *suite) {
	id := lookalikes[0]
	s.create(id)
	wrapped := s.wrap(id, secret)
	last := len(wrapped) - 1
	for _, c := range []struct {
		what string
		b    []byte
	}{
		{"nothing", nil}, {"cut short", wrapped[:last/2]}, {"text", []byte("not wrapped")},
		{"a changed beginning", flipped(wrapped, 0)}, {"a changed middle", flipped(wrapped, last/2)}, {"a changed end", flipped(wrapped, last-4)},
	} {
		_, err := s.kek.Unwrap(s.ctx, id, c.b)
		s.fails("Unwrap of "+c.what, err, keys.ErrIntegrity)
		_, err = s.kek.Rewrap(s.ctx, id, c.b)
		s.fails("Rewrap of "+c.what, err, keys.ErrIntegrity)
	}
	s.unwraps(id, wrapped, secret)
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 3 // stays within base64 for letters and digits, mostly
	return b
}

func rotate(s *suite) {
	id := lookalikes[0]
	s.create(id)
	first := s.wrap(id, secret)
	for range 3 {
		if err := s.kek.Rotate(s.ctx, id); err != nil {
			s.Fatalf("Rotate: %v", err)
		}
		s.unwraps(id, first, secret)
		s.unwraps(id, s.wrap(id, secret), secret)
	}
	rewrapped, err := s.kek.Rewrap(s.ctx, id, first)
	if err != nil {
		s.Fatalf("Rewrap: %v", err)
	}
	if bytes.Equal(rewrapped, first) {
		s.Error("Rewrap returned what it was given")
	}
	s.unwraps(id, rewrapped, secret)
}

func destroy(s *suite) {
	id, other := lookalikes[0], lookalikes[1]
	s.create(id)
	s.create(other)
	wrapped, kept := s.wrap(id, secret), s.wrap(other, secret)
	if err := s.kek.Rotate(s.ctx, id); err != nil {
		s.Fatalf("Rotate: %v", err)
	}
	for range 2 {
		if err := s.kek.Destroy(s.ctx, id); err != nil {
			s.Fatalf("Destroy: %v", err)
		}
		_, err := s.kek.Unwrap(s.ctx, id, wrapped)
		s.fails("Unwrap after Destroy", err, keys.ErrNotFound)
	}
	s.create(id)
	_, err := s.kek.Unwrap(s.ctx, id, wrapped)
	s.fails("Unwrap after Destroy and Create", err, keys.ErrIntegrity)
	s.unwraps(other, kept, secret)
}

func zeroID(s *suite) {
	var zero tenant.ID
	s.fails("Create", s.kek.Create(s.ctx, zero), tenant.ErrInvalidID)
	_, err := s.kek.Wrap(s.ctx, zero, []byte(secret))
	s.fails("Wrap", err, tenant.ErrInvalidID)
	_, err = s.kek.Unwrap(s.ctx, zero, []byte(secret))
	s.fails("Unwrap", err, tenant.ErrInvalidID)
	s.fails("Rotate", s.kek.Rotate(s.ctx, zero), tenant.ErrInvalidID)
	_, err = s.kek.Rewrap(s.ctx, zero, []byte(secret))
	s.fails("Rewrap", err, tenant.ErrInvalidID)
	s.fails("Destroy", s.kek.Destroy(s.ctx, zero), tenant.ErrInvalidID)
}

// cancelled: an ended context ends every call, without effect.
func cancelled(s *suite) {
	id, other := lookalikes[0], lookalikes[1]
	s.create(id)
	wrapped := s.wrap(id, secret)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.fails("Create", s.kek.Create(ctx, other), context.Canceled)
	_, err := s.kek.Wrap(ctx, id, []byte(secret))
	s.fails("Wrap", err, context.Canceled)
	_, err = s.kek.Unwrap(ctx, id, wrapped)
	s.fails("Unwrap", err, context.Canceled)
	s.fails("Rotate", s.kek.Rotate(ctx, id), context.Canceled)
	_, err = s.kek.Rewrap(ctx, id, wrapped)
	s.fails("Rewrap", err, context.Canceled)
	s.fails("Destroy", s.kek.Destroy(ctx, id), context.Canceled)
	s.unwraps(id, wrapped, secret)
	_, err = s.kek.Wrap(s.ctx, other, []byte(secret))
	s.fails("Wrap after a cancelled Create", err, keys.ErrNotFound)
}

func concurrent(s *suite) {
	var wg sync.WaitGroup
	for range 4 {
		for _, id := range lookalikes[:3] {
			wg.Go(func() {
				if err := s.kek.Create(s.ctx, id); err != nil {
					s.Errorf("Create: %v", err)
					return
				}
				for range 3 {
					wrapped, err := s.kek.Wrap(s.ctx, id, []byte(secret))
					if err != nil {
						s.Errorf("Wrap: %v", err)
						return
					}
					if got, err := s.kek.Unwrap(s.ctx, id, wrapped); err != nil || string(got) != secret {
						s.Errorf("Unwrap: %d bytes, %v", len(got), err)
					}
				}
			})
		}
	}
	wg.Wait()
}
