package keys_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

func as(actor string, id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: actor, Purpose: "review"})
}

// TestReview opens the personal parts of a real log's events, and finds the review in the log.
func TestReview(t *testing.T) { synctest.Test(t, testReview) }

func testReview(t *testing.T) {
	l := newLocal(t)
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1})
	must(t, err)
	defer log.Close()
	o := quick()
	o.Audit = log
	r, other := openRing(t, l.kek, l.store, o), openRing(t, l.kek, l.store, o)
	must(t, r.Provision(as("ann", idA), idA))
	must(t, r.Provision(as("ben", idB), idB))
	must(t, r.Suspend(as("carl", idA), idA, "an incident"))

	// One opener does for every event of its tenant, before and after; suspended or not.
	theirs, err := r.Review(as("rita", idB), idA, "complaint 7")
	must(t, err)
	mine, err := r.Review(as("rita", idB), idB, "complaint 8")
	must(t, err)
	want := map[audit.Code]audit.Personal{
		audit.CodeKeyProvision: {Actor: "ann"},
		audit.CodeKeySuspend:   {Actor: "carl", Details: map[string]string{"reason": "an incident"}},
		audit.CodeKeyReveal:    {Actor: "rita", Details: map[string]string{"reason": "complaint 7"}},
	}
	seen := map[audit.Code]bool{}
	for e, err := range audit.Read(t.Context(), dir, nil) {
		must(t, err)
		if bytes.Contains(e.Raw, []byte("complaint")) || bytes.Contains(e.Raw, []byte(`"rita"`)) {
			t.Errorf("the review stands in the clear: %s", e.Raw)
		}
		if e.Tenant != idA.String() {
			if len(e.Sealed) > 0 {
				if p, err := audit.Reveal(&e, theirs); !errors.Is(err, keys.ErrIntegrity) || p.Actor != "" {
					t.Errorf("another tenant's %s opened: %+v, %v", e.Code, p, err)
				}
			}
			continue
		}
		if e.Code == audit.CodeKeyProvision && len(e.Sealed) == 0 {
			continue // the intent, before the tenant has keys
		}
		got, err := audit.Reveal(&e, theirs)
		if w := want[e.Code]; err != nil || got.Actor != w.Actor || got.Details["reason"] != w.Details["reason"] {
			t.Errorf("%s: %+v, %v, want %+v", e.Code, got, err, w)
		}
		if _, err := audit.Reveal(&e, mine); !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("%s opened with another tenant's keys: %v", e.Code, err)
		}
		if _, err := audit.Reveal(&e, nil); err == nil {
			t.Errorf("%s opened with nothing", e.Code)
		}
		// What is sealed in one event does not pass for another's.
		e.UID = "01a204e8-0f7f-7098-b286-6ac91e50c401"
		if _, err := audit.Reveal(&e, theirs); !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("%s opened as another event's: %v", e.Code, err)
		}
		seen[e.Code] = true
	}
	if len(seen) != len(want) {
		t.Errorf("the log has %v of the tenant", seen)
	}
	if p, err := audit.Reveal(&audit.Entry{}, theirs); err != nil || p.Actor != "" {
		t.Errorf("an event without anything personal: %+v, %v", p, err)
	}

	must(t, other.Shred(as("carl", idA), idA, "gone"))
	for { // within Options.SuspendWithin
		o, err := r.Review(as("rita", idA), idA, "complaint 9")
		if errors.Is(err, keys.ErrShredded) && o == nil {
			break
		}
		if err != nil {
			t.Fatalf("of a tenant that another process shredded: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReviewRefused(t *testing.T) { synctest.Test(t, testReviewRefused) }

func testReviewRefused(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.Audit = log
	r := openRing(t, l.kek, l.store, o)
	provision(t, r, idA)
	log.take()
	silent := openRing(t, l.kek, l.store, &keys.Options{InsecureWithoutAudit: true})
	for name, review := range map[string]func() (audit.Opener, error){
		"nobody":                func() (audit.Opener, error) { return r.Review(context.Background(), idA, "a reason") },
		"no reason":             func() (audit.Opener, error) { return r.Review(as("rita", idA), idA, "") },
		"no trail":              func() (audit.Opener, error) { return silent.Review(as("rita", idA), idA, "a reason") },
		"no tenant":             func() (audit.Opener, error) { return r.Review(as("rita", idA), tenant.ID{}, "a reason") },
		"a tenant that is none": func() (audit.Opener, error) { return r.Review(as("rita", idA), idB, "a reason") },
		"an event not recorded": func() (audit.Opener, error) {
			log.fail = func(*audit.Event) error { return errAway }
			defer func() { log.fail = nil }()
			return r.Review(as("rita", idA), idA, "a reason")
		},
	} {
		if o, err := review(); err == nil || o != nil {
			t.Errorf("%s: %v, %v", name, o != nil, err)
		}
	}
	if got := log.take(); len(got) > 0 {
		t.Errorf("recorded: %q", got)
	}
}
