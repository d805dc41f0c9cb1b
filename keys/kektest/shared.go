package kektest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// RunShared runs the suite of [keys.SharedKEK]: what [Run] asks of every provider, but for what needs a key of the tenant's own,
// and what is asked of batches and of the versions of the key. Open is called once for each test and returns a provider whose key
// is there and has one version.
func RunShared(t *testing.T, open func(t testing.TB) keys.SharedKEK) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"WrapAndUnwrap", wrapAndUnwrap}, {"CreateTwice", createTwice}, {"Tenants", tenants}, {"Tampered", tampered}, {"ZeroID", zeroID},
		{"Concurrent", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(&suite{t, open(t), t.Context()}) })
	}
	for _, test := range []struct {
		name string
		run  func(*shared)
	}{
		{"Untouched", untouched}, {"Versions", sharedVersions}, {"Batches", batches}, {"BatchesOfOthers", exchanged}, {"BatchesEnd", batchesEnd},
	} {
		t.Run(test.name, func(t *testing.T) { k := open(t); test.run(&shared{suite{t, k, t.Context()}, k}) })
	}
}

type shared struct {
	suite
	key keys.SharedKEK
}

func (s *shared) state() keys.SharedKey {
	s.Helper()
	k, err := s.key.SharedKey(s.ctx)
	if err != nil {
		s.Fatalf("SharedKey: %v", err)
	}
	return k
}

// untouched: neither Rotate nor Destroy does anything, and both say so.
func untouched(s *shared) {
	id, before := lookalikes[0], s.state()
	wrapped := s.wrap(id, secret)
	for what, err := range map[string]error{"Rotate": s.kek.Rotate(s.ctx, id), "Destroy": s.kek.Destroy(s.ctx, id)} {
		var e *keys.SharedKeyError
		if !errors.As(err, &e) || len(e.Keys) != 1 || e.Keys[0] != before || !errors.Is(err, errors.ErrUnsupported) {
			s.Errorf("%s: %v", what, err)
		}
	}
	if after := s.state(); after != before || before.Oldest != 1 || before.Newest != 1 || before.Name == "" {
		s.Errorf("the key was %+v, and is %+v", before, after)
	}
	s.unwraps(id, wrapped, secret)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.fails("Create", s.kek.Create(ctx, id), context.Canceled)
	_, err := s.kek.Wrap(ctx, id, []byte(secret))
	s.fails("Wrap", err, context.Canceled)
	_, err = s.kek.Unwrap(ctx, id, wrapped)
	s.fails("Unwrap", err, context.Canceled)
	_, err = s.kek.Rewrap(ctx, id, wrapped)
	s.fails("Rewrap", err, context.Canceled)
	s.fails("Rotate", s.kek.Rotate(ctx, id), context.Canceled)
	s.fails("Destroy", s.kek.Destroy(ctx, id), context.Canceled)
	s.fails("RotateSharedKey", s.key.RotateSharedKey(ctx), context.Canceled)
}

// sharedVersions: what a version wrapped opens until that version is disabled, again once it is enabled, and never once it is
// destroyed.
func sharedVersions(s *shared) {
	id := lookalikes[0]
	first := s.wrap(id, secret)
	if err := s.key.RotateSharedKey(s.ctx); err != nil {
		s.Fatalf("RotateSharedKey: %v", err)
	}
	second := s.wrap(id, secret)
	moved, err := s.kek.Rewrap(s.ctx, id, first)
	if err != nil {
		s.Fatalf("Rewrap: %v", err)
	}
	for what, c := range map[string]struct {
		wrapped []byte
		through int
		needs   bool
	}{
		"the first": {first, 1, true}, "the second": {second, 1, false}, "one that was moved": {moved, 1, false}, "the second, of both": {second, 2, true},
		"the first, of none": {first, 0, false}, "nothing": {nil, 1, true}, "something else": {[]byte("something else"), 1, true},
	} {
		if got := s.key.Needs(c.wrapped, c.through); got != c.needs {
			s.Errorf("%s needs a version up to %d: %t", what, c.through, got)
		}
	}
	if err := s.key.DestroyVersions(s.ctx, 2); err == nil {
		s.Error("a version that is not disabled was destroyed")
	}
	s.unwraps(id, first, secret)
	for _, out := range []int{0, 3} {
		if err := s.key.DisableVersions(s.ctx, out); err == nil {
			s.Errorf("all versions below %d were disabled, of which there are 1 and 2", out)
		}
	}
	disable := func(oldest int) {
		s.Helper()
		if err := s.key.DisableVersions(s.ctx, oldest); err != nil {
			s.Fatalf("DisableVersions: %v", err)
		}
	}
	gone := func(what string) {
		s.Helper()
		_, err := s.kek.Unwrap(s.ctx, id, first)
		s.fails("Unwrap of a version that is "+what, err, keys.ErrIntegrity)
		_, err = s.kek.Rewrap(s.ctx, id, first)
		s.fails("Rewrap of a version that is "+what, err, keys.ErrIntegrity)
		results, err := s.key.UnwrapBatch(s.ctx, []keys.Wrapped{{Tenant: id, Bytes: first}})
		if err != nil || len(results) != 1 {
			s.Fatalf("UnwrapBatch: %d results, %v", len(results), err)
		}
		s.fails("UnwrapBatch of a version that is "+what, results[0].Err, keys.ErrIntegrity)
		s.unwraps(id, second, secret)
		s.unwraps(id, moved, secret)
	}
	disable(2)
	if k := s.state(); k.Enabled != 2 || !k.Proving {
		s.Errorf("version 1 is disabled, and the key is %+v", k)
	}
	gone("disabled")
	disable(1)
	if k := s.state(); k.Enabled != 0 || k.Proving {
		s.Errorf("no version is disabled, and the key is %+v", k)
	}
	s.unwraps(id, first, secret)
	disable(2)
	for range 2 {
		if err := s.key.DestroyVersions(s.ctx, 2); err != nil {
			s.Fatalf("DestroyVersions: %v", err)
		}
		gone("destroyed")
	}
	if err := s.key.DisableVersions(s.ctx, 1); err == nil {
		s.Error("a version that was destroyed was enabled")
	}
	if k := s.state(); k.Oldest != 2 || k.Newest != 2 {
		s.Errorf("the key is %+v", k)
	}
	gone("destroyed")
	if err := s.key.RotateSharedKey(s.ctx); err != nil {
		s.Fatalf("RotateSharedKey: %v", err)
	}
	s.unwraps(id, s.wrap(id, secret), secret)
}

// batches: each of a full batch is answered as it would be alone, in its order, and what is wrong with one is its own affair.
func batches(s *shared) {
	all := make([]keys.Wrapped, keys.MaxBatch)
	for i := range all {
		id := tenant.MustParse(fmt.Sprintf("batch-%d", i))
		all[i] = keys.Wrapped{Tenant: id, Bytes: s.wrap(id, secret+id.String())}
	}
	damaged := map[int][]byte{3: nil, 100: []byte("something else"), 200: flipped(all[200].Bytes, len(all[200].Bytes)-4), keys.MaxBatch - 1: all[0].Bytes}
	for i, b := range damaged {
		all[i].Bytes = b
	}
	group := s.key.Group(s.ctx, all[0])
	for _, w := range all {
		if s.key.Group(s.ctx, w) != group {
			s.Fatal("one key, and several groups")
		}
	}
	check := func(what string, ask func(context.Context, []keys.Wrapped) ([]keys.Result, error), value func(int, []byte)) {
		results, err := ask(s.ctx, all)
		if err != nil || len(results) != len(all) {
			s.Fatalf("%s: %d results, %v", what, len(results), err)
		}
		for i, r := range results {
			if _, bad := damaged[i]; bad {
				s.fails(fmt.Sprint(what, " of a damaged one, ", i), r.Err, keys.ErrIntegrity)
				if len(r.Bytes) > 0 {
					s.Errorf("%s: an error and bytes", what)
				}
				continue
			}
			if r.Err != nil {
				s.Fatalf("%s: %v", what, r.Err)
			}
			value(i, r.Bytes)
		}
	}
	check("UnwrapBatch", s.key.UnwrapBatch, func(i int, b []byte) {
		if string(b) != secret+all[i].Tenant.String() {
			s.Errorf("%s has what is another's", all[i].Tenant)
		}
	})
	check("RewrapBatch", s.key.RewrapBatch, func(i int, b []byte) {
		if bytes.Equal(b, all[i].Bytes) {
			s.Error("RewrapBatch returned what it was given")
		}
		if i%50 == 0 {
			s.unwraps(all[i].Tenant, b, secret+all[i].Tenant.String())
		}
	})
	if results, err := s.key.UnwrapBatch(s.ctx, nil); err != nil || len(results) != 0 {
		s.Errorf("a batch of none: %d results, %v", len(results), err)
	}
	if _, err := s.key.UnwrapBatch(s.ctx, append(all, all[0])); err == nil {
		s.Error("a batch over the limit was answered")
	}
	big := make([]keys.Wrapped, 100) // as long as they may be: more than an answer may have
	for i := range big {
		id := tenant.MustParse(fmt.Sprintf("big-%d", i))
		big[i] = keys.Wrapped{Tenant: id, Bytes: s.wrap(id, string(bytes.Repeat([]byte{'b'}, 16<<10)))}
	}
	results, err := s.key.UnwrapBatch(s.ctx, big)
	if err != nil || slices.ContainsFunc(results, func(r keys.Result) bool { return r.Err != nil || len(r.Bytes) != 16<<10 }) {
		s.Errorf("a batch of the longest: %v", err)
	}
}

// exchanged: what is one tenant's opens as no other's, in a batch with its own and without.
func exchanged(s *shared) {
	var all []keys.Wrapped
	for _, of := range lookalikes {
		wrapped := s.wrap(of, secret)
		for _, id := range lookalikes {
			all = append(all, keys.Wrapped{Tenant: id, Bytes: wrapped})
		}
	}
	for what, ask := range map[string]func(context.Context, []keys.Wrapped) ([]keys.Result, error){"UnwrapBatch": s.key.UnwrapBatch, "RewrapBatch": s.key.RewrapBatch} {
		results, err := ask(s.ctx, all)
		if err != nil || len(results) != len(all) {
			s.Fatalf("%s: %d results, %v", what, len(results), err)
		}
		for i, r := range results {
			if i/len(lookalikes) == i%len(lookalikes) {
				if r.Err != nil {
					s.Errorf("%s of a tenant's own: %v", what, r.Err)
				}
				continue
			}
			s.fails(what+" of another tenant's", r.Err, keys.ErrIntegrity)
		}
		// All of them wrong, which providers may answer otherwise than where some are right.
		results, err = ask(s.ctx, []keys.Wrapped{all[1], all[2]})
		if err != nil || len(results) != 2 {
			s.Fatalf("%s of others' alone: %d results, %v", what, len(results), err)
		}
		for _, r := range results {
			s.fails(what+" of others' alone", r.Err, keys.ErrIntegrity)
		}
		results, err = ask(s.ctx, []keys.Wrapped{{Bytes: all[0].Bytes}})
		if err == nil && len(results) == 1 {
			err = results[0].Err
		}
		s.fails(what+" of the zero ID", err, tenant.ErrInvalidID)
	}
}

// batchesEnd: an ended context ends a batch.
func batchesEnd(s *shared) {
	id := lookalikes[0]
	all := []keys.Wrapped{{Tenant: id, Bytes: s.wrap(id, secret)}}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.key.UnwrapBatch(ctx, all)
	s.fails("UnwrapBatch", err, context.Canceled)
	_, err = s.key.RewrapBatch(ctx, all)
	s.fails("RewrapBatch", err, context.Canceled)
}
