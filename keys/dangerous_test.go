package keys_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tink-crypto/tink-go/v2/aead"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
)

func TestDangerousExport(t *testing.T) { synctest.Test(t, testDangerousExport) }

func testDangerousExport(t *testing.T) {
	l, log := newLocal(t), &trail{}
	o := quick()
	o.Audit = log
	r := openRing(t, l.kek, l.store, o)
	provision(t, r, idA)
	provision(t, r, idB)
	sealed, err := open(t, r, idA).Data().Encrypt([]byte("a note"), []byte("place"))
	must(t, err)
	log.take()
	h, err := r.DangerousExport(t.Context(), idA, keys.PurposeData, "the clinic leaves")
	must(t, err)
	events := slices.Clone(log.events)
	if got, want := log.take(), []string{"key.export intent success", "key.export outcome success"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, e := range events {
		if e.Tenant != idA || e.Sealer == nil || e.Details["reason"] != "the clinic leaves" || e.Details["purpose"] != "data" {
			t.Errorf("%+v", e)
		}
	}
	exported, err := aead.New(h)
	must(t, err)
	if got, err := exported.Decrypt(sealed, []byte("place")); err != nil || string(got) != "a note" {
		t.Errorf("%q, %v", got, err)
	}
	foreign, err := open(t, r, idB).Data().Encrypt([]byte("a note"), []byte("place"))
	must(t, err)
	if got, err := exported.Decrypt(foreign, []byte("place")); err == nil {
		t.Errorf("another tenant's opened: %q", got)
	}

	// Nothing is handed out that is not on the record, or without a reason.
	refused := func(what string, want error, id string) {
		t.Helper()
		h, err := r.DangerousExport(t.Context(), idA, keys.PurposeData, id)
		if err == nil || want != nil && !errors.Is(err, want) || h != nil {
			t.Errorf("%s: %v, %v", what, h != nil, err)
		}
	}
	refused("no reason", nil, "")
	for phase, at := range map[string]audit.Phase{"intent": audit.Intent, "outcome": audit.Outcome} {
		log.fail = func(e *audit.Event) error {
			if e.Phase == at {
				return errAway
			}
			return nil
		}
		refused("no record of the "+phase, audit.ErrUnavailable, "a reason")
	}
	log.fail = nil
	if h, err := r.DangerousExport(t.Context(), idA, "root", "a reason"); err == nil || h != nil {
		t.Errorf("a purpose that is none: %v", err)
	}
	must(t, r.Suspend(t.Context(), idA, ""))
	refused("suspended", keys.ErrSuspended, "a reason")
	must(t, r.Shred(t.Context(), idA, ""))
	refused("shredded", keys.ErrShredded, "a reason")
	silent := openRing(t, l.kek, l.store, &keys.Options{InsecureWithoutAudit: true})
	if h, err := silent.DangerousExport(t.Context(), idB, keys.PurposeData, "a reason"); err == nil || h != nil {
		t.Errorf("without an audit trail: %v", err)
	}
	var text bytes.Buffer
	for _, e := range log.events {
		text.WriteString(e.Reason)
	}
	if bytes.Contains(text.Bytes(), []byte("the clinic leaves")) {
		t.Error("the reason is in the clear")
	}
}
