package keys_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// sealingNames is the key that new objects get their names from.
func sealingNames(k tenantkeys.Keys) (tink.DeterministicAEAD, error) {
	all, err := k.NameKeys()
	i := slices.IndexFunc(all, func(n tenantkeys.NameKey) bool { return n.Seals })
	if err != nil || i < 0 {
		return nil, errors.Join(err, errors.New("no key of names seals"))
	}
	return all[i].AEAD, nil
}

// sealName is the sealed name of one text by the tenant's names key.
func sealName(t testing.TB, k tenantkeys.Keys) string {
	t.Helper()
	d, err := sealingNames(k)
	must(t, err)
	name, err := envelope.SealName(d, k.ID(), "scans", "", "x")
	must(t, err)
	if piece, ok := envelope.OpenName(d, k.ID(), "scans", "", name); !ok || piece != "x" {
		t.Fatalf("%q does not open", name)
	}
	return name
}

func edit(t testing.TB, r *keys.Keyring, id tenant.ID, f func(*envelope.Record)) {
	t.Helper()
	must(t, r.EditRecord(t.Context(), id, f))
}

func TestNamesAreTheSameInEveryProcessAndNobodyElses(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA, idB)
	name := sealName(t, open(t, r, idA))
	if again := sealName(t, open(t, openRing(t, l.kek, l.store, nil), idA)); again != name {
		t.Errorf("%q in one process, %q in another", name, again)
	}
	if other := sealName(t, open(t, r, idB)); other == name {
		t.Error("two tenants have the same sealed name")
	}
}

// A tenant of an earlier version, the golden one, gets its names key by Provision, and keeps all else.
func TestProvisionCompletesARecordOfAnEarlierVersion(t *testing.T) {
	v, err := golden.Load("..")
	must(t, err)
	l := goldenLocal(t, v)
	id, log := tenant.MustParse(v.Tenant), &trail{}
	r := openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring, Audit: log})
	before := open(t, r, id)
	if _, err := sealingNames(before); !errors.Is(err, keys.ErrNotProvisioned) {
		t.Fatalf("names without a key: %v", err)
	}
	provision(t, r, id)
	if got, want := log.take(), []string{"key.provision intent success", "key.provision outcome success"}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	name := sealName(t, open(t, r, id))
	checkVectors(t, v, open(t, r, id))
	provision(t, r, id)
	if got := log.take(); len(got) != 0 {
		t.Errorf("a provisioning without effect recorded %q", got)
	}
	other := openRing(t, l.kek, l.store, &keys.Options{Label: v.Keyring})
	provision(t, other, id)
	checkVectors(t, v, open(t, other, id))
	if again := sealName(t, open(t, other, id)); again != name {
		t.Error("the names key was made twice")
	}
}

func TestCompletingInSeveralProcessesMakesOneKey(t *testing.T) {
	l := newLocal(t)
	first := openRing(t, l.kek, l.store, nil)
	provision(t, first, idA)
	must(t, first.MakeEarlier(t.Context(), idA))
	rings := make([]*keys.Keyring, 6)
	for i := range rings {
		rings[i] = openRing(t, l.kek, l.store, nil)
		open(t, rings[i], idA) // each has the record of before in its cache
	}
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() {
			if err := r.Provision(t.Context(), idA); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	name := sealName(t, open(t, openRing(t, l.kek, l.store, nil), idA))
	for i, r := range rings {
		if got := sealName(t, open(t, r, idA)); got != name {
			t.Errorf("ring %d has another key", i)
		}
	}
}

func TestCompletingSurvivesACrash(t *testing.T) {
	for _, at := range []string{"before put", "after put"} {
		l := newLocal(t)
		first := openRing(t, l.kek, l.store, nil)
		provision(t, first, idA)
		sealed, err := open(t, first, idA).Data().Encrypt([]byte("v"), nil)
		must(t, err)
		must(t, first.MakeEarlier(t.Context(), idA))
		f := newFaulty(l)
		f.crash = func(step string) error {
			if step == at {
				return errCrash
			}
			return nil
		}
		r := openRing(t, f, f, nil)
		wantErr(t, r.Provision(t.Context(), idA), errCrash)
		// Whatever is stored opens, in this process and in another, and another completes it.
		for _, r := range []*keys.Keyring{r, openRing(t, l.kek, l.store, nil)} {
			if got, err := open(t, r, idA).Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
				t.Errorf("%s: %q, %v", at, got, err)
			}
		}
		after := openRing(t, l.kek, l.store, nil)
		provision(t, after, idA)
		sealName(t, open(t, after, idA))
		if got, err := open(t, after, idA).Data().Decrypt(sealed, nil); err != nil || string(got) != "v" {
			t.Errorf("%s: %q, %v", at, got, err)
		}
	}
}

func TestCompletingIsRefusedAndRecorded(t *testing.T) {
	l, log := newLocal(t), &trail{}
	r := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	provision(t, r, idA)
	must(t, r.MakeEarlier(t.Context(), idA))
	other := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	open(t, other, idA)
	must(t, r.Suspend(t.Context(), idA, ""))
	log.take()
	// Active as far as this process knows.
	wantErr(t, other.Provision(t.Context(), idA), keys.ErrSuspended)
	stored, err := l.store.Get(t.Context(), idA)
	must(t, err)
	if rec, err := envelope.ParseRecord(stored.Data); err != nil || rec.Format != envelope.Separate || rec.State != envelope.StateSuspended {
		t.Errorf("the record is %+v, %v", rec, err)
	}
}

// Whoever can write to the key store takes the names key away, or exchanges it, or a keyset beside it.
func TestNamesCannotBeStripped(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA, idB)
	var whole, others, earlier envelope.Record
	edit(t, r, idA, func(rec *envelope.Record) { whole = *rec })
	edit(t, r, idB, func(rec *envelope.Record) { others = *rec })
	must(t, r.MakeEarlier(t.Context(), idA))
	edit(t, r, idA, func(rec *envelope.Record) { earlier = *rec })
	without := func(rec envelope.Record, purpose string) envelope.Record {
		rec.Keysets = slices.DeleteFunc(slices.Clone(rec.Keysets), func(k envelope.Keyset) bool { return k.Purpose == purpose })
		return rec
	}
	with := func(rec envelope.Record, purpose string, from envelope.Record) envelope.Record {
		rec = without(rec, purpose)
		for _, k := range from.Keysets {
			if k.Purpose == purpose {
				rec.Keysets = append(rec.Keysets, k)
			}
		}
		slices.SortFunc(rec.Keysets, func(a, b envelope.Keyset) int { return bytes.Compare([]byte(a.Purpose), []byte(b.Purpose)) })
		return rec
	}
	of := func(rec envelope.Record, f envelope.Format) envelope.Record { rec.Format = f; return rec }
	for name, rec := range map[string]envelope.Record{
		"stripped":                          without(whole, "names"),
		"stripped, and called earlier":      of(without(whole, "names"), envelope.Separate),
		"called earlier":                    of(whole, envelope.Separate),
		"earlier, called later":             of(earlier, envelope.Bound),
		"another tenant's names":            with(whole, "names", others),
		"an earlier data keyset":            with(whole, "data", earlier),
		"earlier, with names":               with(earlier, "names", whole),
		"earlier, with names, called later": of(with(earlier, "names", whole), envelope.Bound),
		"an earlier index keyset":           with(whole, "index", earlier),
	} {
		edit(t, r, idA, func(to *envelope.Record) { *to = rec })
		fresh := openRing(t, l.kek, l.store, nil)
		k, err := fresh.Tenant(t.Context(), idA)
		if k != nil || !errors.Is(err, keys.ErrIntegrity) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		wantErr(t, fresh.Provision(t.Context(), idA), keys.ErrIntegrity)
	}
	// The whole record of before can be put back, as every older record can. Then names are refused, and not sealed anew.
	edit(t, r, idA, func(to *envelope.Record) { *to = earlier })
	if _, err := sealingNames(open(t, openRing(t, l.kek, l.store, nil), idA)); !errors.Is(err, keys.ErrNotProvisioned) {
		t.Errorf("with an older record: %v", err)
	}
}

// A keyset of more keys than are looked under would have objects not be found.
func TestThreeNameKeysAreRefused(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	must(t, r.AddKey(t.Context(), idA, "names", true))
	k := open(t, openRing(t, l.kek, l.store, nil), idA)
	if all, err := k.NameKeys(); err != nil || len(all) != 2 || !all[0].Seals || all[1].Seals {
		t.Errorf("%+v, %v", all, err)
	}
	must(t, r.AddKey(t.Context(), idA, "names", true))
	_, err := openRing(t, l.kek, l.store, nil).Tenant(t.Context(), idA)
	wantErr(t, err, keys.ErrIntegrity)
}

// unwrapOnly is a KEK provider for a process that may open tenants and nothing else.
type unwrapOnly struct{ keys.KEK }

var errForbidden = errors.New("forbidden by policy")

func (unwrapOnly) Create(context.Context, tenant.ID) error { return errForbidden }
func (unwrapOnly) Rotate(context.Context, tenant.ID) error { return errForbidden }
func (unwrapOnly) Wrap(context.Context, tenant.ID, []byte) ([]byte, error) {
	return nil, errForbidden
}

func TestCompletingNeedsNoMoreOfTheKEKThanOpening(t *testing.T) {
	l := newLocal(t)
	r := openRing(t, l.kek, l.store, nil)
	provision(t, r, idA)
	must(t, r.MakeEarlier(t.Context(), idA))
	limited := openRing(t, unwrapOnly{l.kek}, l.store, nil)
	provision(t, limited, idA)
	sealName(t, open(t, limited, idA))
}

// Nothing is completed that cannot be recorded.
func TestCompletingWithoutALog(t *testing.T) {
	l, log := newLocal(t), &trail{}
	r := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	provision(t, r, idA)
	must(t, r.MakeEarlier(t.Context(), idA))
	before, err := l.store.Get(t.Context(), idA)
	must(t, err)
	log.fail = func(*audit.Event) error { return errors.New("disk full") }
	again := openRing(t, l.kek, l.store, &keys.Options{Audit: log})
	wantErr(t, again.Provision(t.Context(), idA), audit.ErrUnavailable)
	if after, err := l.store.Get(t.Context(), idA); err != nil || after.Version != before.Version {
		t.Errorf("the record changed: %v", err)
	}
}
