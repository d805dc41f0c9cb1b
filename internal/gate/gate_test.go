package gate_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

var (
	alpha   = tenant.MustParse("alpha")
	unknown = tenant.MustParse("unknown")
	op      = gate.Op{
		Code:          audit.CodeQuery,
		Action:        tenant.Action{Verb: tenant.Read, Store: "sqlite", Name: "app", Tables: []string{"patients"}, Columns: []string{"patients.name"}},
		SealedColumns: []string{"patients.name"},
		Details:       map[string]string{"why": "canary-detail"},
	}
)

type recorder struct {
	events []audit.Event
	fail   error
}

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	if r.fail != nil {
		return r.fail
	}
	r.events = append(r.events, *e)
	return nil
}

func newRing(t *testing.T) *keys.Keyring {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek"), nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(context.Background(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ring.Close() })
	if err := ring.Provision(context.Background(), alpha); err != nil {
		t.Fatal(err)
	}
	return ring
}

func newGate(t *testing.T, auth tenant.Authorizer) (*gate.Gate, *keys.Keyring, *recorder) {
	t.Helper()
	ring, rec := newRing(t), &recorder{}
	g, err := gate.New(ring, rec, auth)
	if err != nil {
		t.Fatal(err)
	}
	return g, ring, rec
}

func request(id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "dr.adams", Purpose: "treatment", Request: "r1"})
}

func TestEnterRecordsTheIntentAndLeaveTheOutcome(t *testing.T) {
	g, _, rec := newGate(t, nil)
	pass, err := g.Enter(request(alpha), &op)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.events) != 1 || rec.events[0].Phase != audit.Intent || rec.events[0].Sealer == nil {
		t.Fatalf("before anything is read the trail holds %+v", rec.events)
	}
	if pass.Tenant() != alpha || pass.Keys().ID() != alpha || pass.Access().Actor != "dr.adams" {
		t.Errorf("the pass is for %v with the keys of %v", pass.Access(), pass.Keys().ID())
	}
	// A caller that has gone does not keep the outcome out of the trail.
	ctx, cancel := context.WithCancel(request(alpha))
	cancel()
	if err := pass.Leave(ctx, gate.Result{Rows: 3, Bytes: -1, Err: context.Canceled}); err != nil {
		t.Fatal(err)
	}
	out := rec.events[1]
	if out.Phase != audit.Outcome || out.Status != audit.Failure || out.Reason != "cancelled" || out.Rows != 3 || out.Correlation != rec.events[0].Correlation {
		t.Errorf("outcome %+v", out)
	}
}

func TestRefusalsAreRecordedInOrder(t *testing.T) {
	boss := errors.New("not on this ward, canary-reason")
	consulted := 0
	g, ring, rec := newGate(t, tenant.AuthorizerFunc(func(_ context.Context, a tenant.Access, act tenant.Action) error {
		consulted++
		act.Tables[0], act.Columns[0] = "scribbled", "scribbled"
		if a.Purpose == "curiosity" {
			return boss
		}
		return nil
	}))
	curious := tenant.NewContext(context.Background(), tenant.Access{Tenant: alpha, Actor: "x", Purpose: "curiosity"})
	cases := []struct {
		name      string
		ctx       context.Context
		before    func()
		want      error
		reason    string
		consulted int
		sealed    bool
	}{
		{"no access", context.Background(), nil, tenant.ErrMissing, "no tenant in the context", 0, false},
		{"invalid access", tenant.NewContext(context.Background(), tenant.Access{Tenant: alpha}), nil, tenant.ErrInvalidAccess, "invalid access", 0, false},
		{"not provisioned", request(unknown), nil, keys.ErrNotProvisioned, "not provisioned", 0, false},
		{"unauthorized", curious, nil, tenant.ErrDenied, "unauthorized", 1, true},
		{"suspended", request(alpha), func() {
			if err := ring.Suspend(context.Background(), alpha, "court order"); err != nil {
				t.Fatal(err)
			}
		}, keys.ErrSuspended, "suspended", 0, true},
	}
	for _, c := range cases {
		if c.before != nil {
			c.before()
		}
		rec.events, consulted = nil, 0
		pass, err := g.Enter(c.ctx, &op)
		if pass != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, pass, err)
		}
		if consulted != c.consulted {
			t.Errorf("%s: the authorizer was consulted %d times", c.name, consulted)
		}
		if len(rec.events) != 1 {
			t.Fatalf("%s: %d events", c.name, len(rec.events))
		}
		ev := rec.events[0]
		if ev.Status != audit.Denied || ev.Reason != c.reason || ev.Phase != audit.Single || (ev.Sealer != nil) != c.sealed {
			t.Errorf("%s: event %+v", c.name, ev)
		}
		if !slices.Equal(ev.Tables, []string{"patients"}) {
			t.Errorf("%s: the authorizer changed what is recorded: %v", c.name, ev.Tables)
		}
	}
	if errors.Is(boss, tenant.ErrDenied) {
		t.Fatal("the test proves nothing")
	}
}

func TestNothingPassesWithoutALog(t *testing.T) {
	g, _, rec := newGate(t, nil)
	disk := errors.New("disk gone")
	rec.fail = disk
	pass, err := g.Enter(request(alpha), &op)
	if pass != nil || !errors.Is(err, audit.ErrUnavailable) || !errors.Is(err, disk) {
		t.Errorf("Enter: %v, %v", pass, err)
	}
	// A denial stays one, and says that it went unrecorded.
	_, err = g.Enter(context.Background(), &op)
	if !errors.Is(err, tenant.ErrMissing) || !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("a denial: %v", err)
	}
	rec.fail = nil
	pass, err = g.Enter(request(alpha), &op)
	if err != nil {
		t.Fatal(err)
	}
	rec.fail = disk
	if err := pass.Leave(request(alpha), gate.Result{}); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Leave: %v", err)
	}
	if err := pass.Alert(request(alpha), "patients.name"); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Alert: %v", err)
	}
}

func TestNewNeedsEveryFence(t *testing.T) {
	if _, err := gate.New(nil, &recorder{}, nil); err == nil {
		t.Error("a gate without keys")
	}
	if _, err := gate.New(newRing(t), nil, nil); err == nil {
		t.Error("a gate without a log")
	}
}

// shortens is a recorder of the application's that changes what it was given.
type shortens struct{ recorder }

func (r *shortens) Record(ctx context.Context, e *audit.Event) error {
	for _, names := range [][]string{e.Tables, e.Columns, e.SealedColumns} {
		for i := range names {
			names[i] = "…"
		}
	}
	clear(e.Details)
	e.Tenant = unknown
	return r.recorder.Record(ctx, e)
}

func (r *shortens) Queue(ctx context.Context, e *audit.Event) (audit.Pending, error) {
	return waitsForNothing{}, r.Record(ctx, e)
}

type waitsForNothing struct{}

func (waitsForNothing) Wait(context.Context) error { return nil }

// TestARecorderChangesNothingButItsEvent: the names in an event are those of a plan, which all requests share, and by which the authorizer
// decides.
func TestARecorderChangesNothingButItsEvent(t *testing.T) {
	var asked []tenant.Action
	g, err := gate.New(newRing(t), &shortens{}, tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		asked = append(asked, a)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	shared := op
	shared.Action.Tables, shared.Action.Columns = slices.Clone(op.Action.Tables), slices.Clone(op.Action.Columns)
	shared.SealedColumns, shared.Details = slices.Clone(op.SealedColumns), maps.Clone(op.Details)
	for range 2 {
		for _, enter := range []func(context.Context, *gate.Op) (*gate.Pass, error){g.Enter, g.Begin} {
			pass, err := enter(request(alpha), &shared)
			if err != nil {
				t.Fatal(err)
			}
			if err := pass.Leave(request(alpha), gate.Result{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, a := range asked {
		if !slices.Equal(a.Tables, op.Action.Tables) || !slices.Equal(a.Columns, op.Action.Columns) {
			t.Errorf("the authorizer is asked about %q, %q", a.Tables, a.Columns)
		}
	}
	if !slices.Equal(shared.SealedColumns, op.SealedColumns) || !maps.Equal(shared.Details, op.Details) || len(asked) != 4 {
		t.Errorf("%+v, %d", shared, len(asked))
	}
}

// TestWhatMustBeRecordedWithItsDetails is refused where the tenant's audit key seals no more: the log takes an event that is no intent all the
// same, without them.
func TestWhatMustBeRecordedWithItsDetails(t *testing.T) {
	kek, err1 := localkek.Open(filepath.Join(t.TempDir(), "kek"), nil)
	store, err2 := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	log, err3 := audit.OpenLog(filepath.Join(t.TempDir(), "audit"), nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ring := func() *keys.Keyring {
		r, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	before := func() error {
		g, err := gate.New(ring(), log, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g.RecordBefore(request(alpha), &op)
	}
	if err := ring().Provision(t.Context(), alpha); err != nil {
		t.Fatal(err)
	}
	if err := before(); err != nil {
		t.Fatal(err)
	}
	all, err := ring().Versions(t.Context(), alpha, keys.PurposeAudit)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := store.Get(t.Context(), alpha)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := envelope.ParseRecord(stored.Data)
	if err != nil {
		t.Fatal(err)
	}
	rec.Counts = []envelope.Count{{Key: all[0].ID, Seals: 1 << 32}}
	if _, err := store.Put(t.Context(), alpha, envelope.AppendRecord(nil, rec), stored.Version); err != nil {
		t.Fatal(err)
	}
	if err := before(); !errors.Is(err, keys.ErrExhausted) {
		t.Errorf("%v; want an error that wraps ErrExhausted", err)
	}
}
