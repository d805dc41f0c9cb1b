package keys_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestEveryChangeIsOnTheTrail(t *testing.T) {
	l, log := newLocal(t), &trail{}
	r := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	ctx := tenant.NewContext(t.Context(), tenant.Access{Tenant: idB, Actor: "admin-7", Purpose: "operations", Request: "r1"})
	for _, step := range []struct {
		name string
		do   func() error
		code audit.Code
	}{
		{"provision", func() error { return r.Provision(ctx, idA) }, audit.CodeKeyProvision},
		{"suspend", func() error { return r.Suspend(ctx, idA, "fraud case 12") }, audit.CodeKeySuspend},
		{"suspend again", func() error { return r.Suspend(ctx, idA, "fraud case 12") }, audit.CodeKeySuspend},
		{"resume", func() error { return r.Resume(ctx, idA, "cleared") }, audit.CodeKeyResume},
		{"shred", func() error { return r.Shred(ctx, idA, "left") }, audit.CodeKeyShred},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		events := slices.Clone(log.events)
		want := []string{fmt.Sprintf("%s intent success", step.code), fmt.Sprintf("%s outcome success", step.code)}
		if got := log.take(); !slices.Equal(got, want) {
			t.Fatalf("%s: recorded %q, want %q", step.name, got, want)
		}
		for _, e := range events {
			if e.Tenant != idA || e.Actor != "admin-7" || e.Purpose != "operations" || e.Request != "r1" || e.Correlation == "" || e.Correlation != events[0].Correlation {
				t.Errorf("%s: %+v", step.name, e)
			}
			if e.Details != nil && e.Sealer == nil {
				t.Errorf("%s: the reason would not be sealed", step.name)
			}
			if strings.Contains(e.Reason, "fraud") {
				t.Errorf("%s: the free-text reason stands in the clear", step.name)
			}
		}
	}
	if err := r.Provision(ctx, idB); err != nil {
		t.Fatal(err)
	}
	log.take()
	if err := r.Provision(ctx, idB); err != nil || len(log.take()) != 0 {
		t.Fatalf("a provisioning without effect: %v, or an event", err)
	}
	wantErr(t, r.Suspend(ctx, tenant.MustParse("nobody"), ""), keys.ErrNotProvisioned)
	if got := log.take(); len(got) != 2 || got[1] != "key.suspend outcome failure" {
		t.Fatalf("a failed suspension: recorded %q", got)
	}
}

func TestNothingIsGrantedThatCannotBeRecorded(t *testing.T) {
	l, log := newLocal(t), &trail{}
	r := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	provision(t, r, idA)
	full := func(*audit.Event) error { return errors.New("disk full") }

	log.fail = full
	wantErr(t, r.Provision(t.Context(), idB), audit.ErrUnavailable)
	if _, err := l.store.Get(t.Context(), idB); !errors.Is(err, keys.ErrNotFound) {
		t.Fatalf("provisioned without a record of it: %v", err)
	}
	wantErr(t, r.Shred(t.Context(), idA, ""), audit.ErrUnavailable)
	open(t, r, idA)

	// Taking access away does not wait for the log.
	wantErr(t, r.Suspend(t.Context(), idA, ""), audit.ErrUnavailable)
	wantStatus(t, r, idA, keys.StatusSuspended)
	wantErr(t, r.Resume(t.Context(), idA, ""), audit.ErrUnavailable)
	wantStatus(t, r, idA, keys.StatusSuspended)

	// An operation whose outcome cannot be recorded is not acknowledged.
	log.fail = func(e *audit.Event) error {
		if e.Phase == audit.Outcome {
			return errors.New("disk full")
		}
		return nil
	}
	wantErr(t, r.Resume(t.Context(), idA, ""), audit.ErrUnavailable)
	log.fail = nil
	if err := r.Suspend(t.Context(), idA, "repeated"); err != nil {
		t.Fatal(err)
	}
}

func TestSuspensionDoesNotNeedTheKEK(t *testing.T) {
	l := newLocal(t)
	f, log := newFaulty(l), &trail{}
	provision(t, openRing(t, f, f, nil), idA)
	f.set(errAway, nil)
	r := openRing(t, f, f, &keys.Options{Audit: log})
	if err := r.Suspend(t.Context(), idA, "gone rogue"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, r, idA, keys.StatusSuspended)
	for _, e := range log.events {
		if e.Sealer != nil {
			t.Error("a sealer without the KEK provider")
		}
	}
}

// TestCrashesAreResumed cuts provisioning and shredding off at every step, and has another process repeat it.
func TestCrashesAreResumed(t *testing.T) {
	for _, op := range []string{"provision", "shred"} {
		for _, at := range []string{"before create", "after create", "before put", "after put", "before destroy", "after destroy"} {
			t.Run(op+" "+at, func(t *testing.T) {
				l := newLocal(t)
				run := func(r *keys.Keyring) error { return r.Provision(t.Context(), idA) }
				want := keys.StatusActive
				if op == "shred" {
					provision(t, openRing(t, l.kek, l.store, nil), idA)
					run = func(r *keys.Keyring) error { return r.Shred(t.Context(), idA, "") }
					want = keys.StatusShredded
				}
				f, crashed := newFaulty(l), false
				f.crash = func(step string) error {
					if step == at {
						crashed = true
						return errCrash
					}
					return nil
				}
				if err := run(openRing(t, f, f, nil)); crashed != (err != nil) {
					t.Fatalf("crashed %t, error %v", crashed, err)
				}
				after := openRing(t, l.kek, l.store, nil)
				if err := run(after); err != nil {
					t.Fatalf("repeating: %v", err)
				}
				wantStatus(t, after, idA, want)
				if want == keys.StatusActive {
					open(t, after, idA)
					return
				}
				if _, err := l.kek.Wrap(t.Context(), idA, []byte("x")); !errors.Is(err, keys.ErrNotFound) {
					t.Fatalf("the KEK outlived the shredding: %v", err)
				}
			})
		}
	}
}

// TestProvisioningInSeveralProcessesMakesOneSetOfKeys also runs against the others' stores in their packages' suites.
func TestProvisioningInSeveralProcessesMakesOneSetOfKeys(t *testing.T) {
	l := newLocal(t)
	rings := make([]*keys.Keyring, 6)
	for i := range rings {
		rings[i] = openRing(t, l.kek, l.store, nil)
	}
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() {
			if err := r.Provision(context.Background(), idA); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sealed, err := open(t, rings[0], idA).Data().Encrypt([]byte("v"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rings {
		if got, err := open(t, r, idA).Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
			t.Errorf("ring %d has other keys: %v", i, err)
		}
	}
}

func TestChangesAtOnceAllTakeEffect(t *testing.T) {
	l := newLocal(t)
	r, other := openRing(t, l.kek, l.store, nil), openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	var wg sync.WaitGroup
	for range 4 {
		for _, ring := range []*keys.Keyring{r, other} {
			wg.Go(func() {
				if err := ring.Suspend(context.Background(), idA, ""); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	wantStatus(t, r, idA, keys.StatusSuspended)
	wantStatus(t, other, idA, keys.StatusSuspended)
}

func TestOpenReportsEveryBadOption(t *testing.T) {
	_, err := keys.Open(t.Context(), nil, nil, &keys.Options{Label: "No Good", SuspendWithin: -1, ReopenAfter: -1, StaleLimit: -1, Timeout: -1,
		CacheSize: -1, MaxKEKCalls: -1, MaxStoreReads: -1, WhenUnavailable: 9, Actor: strings.Repeat("x", 300)})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{"kek is nil", "store is nil", "Label", "SuspendWithin", "ReopenAfter", "StaleLimit", "Timeout", "CacheSize", "MaxKEKCalls", "MaxStoreReads", "WhenUnavailable", "Actor", "Options.Audit"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not mention %s: %v", name, err)
		}
	}
}

// TestAForgottenTrailIsAnError: who means to have none says so.
func TestAForgottenTrailIsAnError(t *testing.T) {
	l := newLocal(t)
	for _, o := range []*keys.Options{nil, {}, {Label: "x"}} {
		if r, err := keys.Open(t.Context(), l.kek, l.store, o); r != nil || err == nil || !strings.Contains(err.Error(), "Options.Audit") ||
			!strings.Contains(err.Error(), "InsecureWithoutAudit") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []*keys.Options{{Audit: &trail{}}, {InsecureWithoutAudit: true}, {Audit: &trail{}, InsecureWithoutAudit: true}} {
		r, err := keys.Open(t.Context(), l.kek, l.store, o)
		if err != nil {
			t.Fatal(err)
		}
		must(t, r.Close())
	}
}

func TestTheZeroTenantIsRefused(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	var zero tenant.ID
	_, err := r.Tenant(t.Context(), zero)
	wantErr(t, err, tenant.ErrInvalidID)
	_, err = r.Status(t.Context(), zero)
	wantErr(t, err, tenant.ErrInvalidID)
	_, err = r.AuditSealer(t.Context(), zero)
	wantErr(t, err, tenant.ErrInvalidID)
	wantErr(t, r.Provision(t.Context(), zero), tenant.ErrInvalidID)
	wantErr(t, r.Suspend(t.Context(), zero, ""), tenant.ErrInvalidID)
	wantErr(t, r.Shred(t.Context(), zero, ""), tenant.ErrInvalidID)
}
