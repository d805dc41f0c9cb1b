package blobs

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// Every operation is an intent before and an outcome after, with the bytes it moved; the object's key is in the
// sealed details only.
func TestTrail(t *testing.T) { eachNaming(t, testTrail) }

func testTrail(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	const key = "patients/jane.doe"
	content := pattern(100_000)
	must(t, b.WriteAll(w.a, key, content, &blob.WriterOptions{Metadata: map[string]string{"diagnosis": "flu"}}))
	_, err := b.ReadAll(w.a, key)
	must(t, err)
	_, err = readRange(b, w.a, key, 5, 7)
	must(t, err)
	_, err = b.Attributes(w.a, key)
	must(t, err)
	_, err = b.List(&blob.ListOptions{Prefix: "patients/"}).Next(w.a)
	must(t, err)
	must(t, b.Copy(w.a, "copy", key, nil))
	must(t, b.Delete(w.a, key))
	_, err = b.ReadAll(w.a, key)
	wantCode(t, err, gcerrors.NotFound)

	type step struct {
		code        audit.Code
		phase       audit.Phase
		status      audit.Status
		rows, bytes int64
	}
	size := int64(len(content))
	want := []step{
		{audit.CodeBlobWrite, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobWrite, audit.Outcome, audit.Success, -1, size},
		{audit.CodeBlobRead, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobRead, audit.Outcome, audit.Success, -1, size},
		{audit.CodeBlobRead, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobRead, audit.Outcome, audit.Success, -1, 7},
		{audit.CodeBlobAttributes, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobAttributes, audit.Outcome, audit.Success, -1, -1},
		{audit.CodeBlobList, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobList, audit.Outcome, audit.Success, 1, -1},
		{audit.CodeBlobCopy, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobCopy, audit.Intent, audit.Success, -1, -1},
		{audit.CodeBlobCopy, audit.Outcome, audit.Success, -1, size}, {audit.CodeBlobCopy, audit.Outcome, audit.Success, -1, size},
		{audit.CodeBlobDelete, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobDelete, audit.Outcome, audit.Success, -1, -1},
		{audit.CodeBlobRead, audit.Intent, audit.Success, -1, -1}, {audit.CodeBlobRead, audit.Outcome, audit.Failure, -1, 0},
	}
	var got []step
	for _, e := range w.log.take() {
		got = append(got, step{e.Code, e.Phase, e.Status, e.Rows, e.Bytes})
		if e.Tenant != alice || e.Store != "blob" || e.Name != "records" || e.Sealer == nil || len(e.Details) == 0 {
			t.Errorf("%+v", e)
		}
		clearText := strings.Join([]string{e.Name, e.Reason, e.Statement, strings.Join(e.Tables, ""), strings.Join(e.Columns, "")}, " ")
		if strings.Contains(clearText, "jane") || strings.Contains(clearText, "flu") {
			t.Errorf("%s shows what is personal: %q", e.Code, clearText)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// Without an intent in the log nothing is read and nothing is written.
func TestLogDownBefore(t *testing.T) { eachNaming(t, testLogDownBefore) }

func testLogDownBefore(t *testing.T) {
	w := newWorld(t)
	inner := &counting{bucketDriver: innerDriver(memory())}
	b := w.wrap(t, blob.NewBucket(inner), "records")
	must(t, b.WriteAll(w.a, "k", []byte("secret"), nil))
	w.log.set(func(e *audit.Event) bool { return e.Phase == audit.Intent })
	inner.requests = nil
	for name, err := range everyOperation(b, w.a, "k") {
		if !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if names := rawNames(t, inner.b); len(names) != 1 || len(inner.requests) != 0 {
		t.Errorf("the store has %q and was asked for %q", names, inner.requests)
	}
	// A copy needs both of its intents.
	seen := 0
	w.log.set(func(e *audit.Event) bool {
		if e.Phase == audit.Intent {
			seen++
		}
		return seen > 1
	})
	wantIs(t, b.Copy(w.a, "copy", "k", nil), audit.ErrUnavailable)
	if names := rawNames(t, inner.b); len(names) != 1 || len(inner.requests) != 0 {
		t.Errorf("the store has %q and was asked for %q", names, inner.requests)
	}
}

// An outcome that cannot be recorded is an error of the operation, and what it found is not returned.
func TestLogDownAfter(t *testing.T) { eachNaming(t, testLogDownAfter) }

func testLogDownAfter(t *testing.T) {
	w := newWorld(t)
	b, _ := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("secret"), nil))
	w.log.set(func(e *audit.Event) bool { return e.Phase == audit.Outcome })
	wantIs(t, b.WriteAll(w.a, "k", []byte("new"), nil), audit.ErrUnavailable)
	_, err := b.Attributes(w.a, "k")
	wantIs(t, err, audit.ErrUnavailable)
	_, err = b.List(nil).Next(w.a)
	wantIs(t, err, audit.ErrUnavailable)
	wantIs(t, b.Copy(w.a, "copy", "k", nil), audit.ErrUnavailable)
	wantIs(t, b.Delete(w.a, "copy"), audit.ErrUnavailable)
	r, err := b.NewReader(w.a, "k", nil)
	must(t, err)
	_, err = io.ReadAll(r)
	must(t, err)
	wantIs(t, r.Close(), audit.ErrUnavailable)
	// That an object is absent is a finding too: Exists must not make "no" of it.
	exists, err := b.Exists(w.a, "absent")
	if exists || !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("got %v, %v", exists, err)
	}
}

// An alert that cannot be recorded does not hide what happened.
func TestLogDownForAlert(t *testing.T) { eachNaming(t, testLogDownForAlert) }

func testLogDownForAlert(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", pattern(fourSegments), nil))
	name := w.nameOf(t, alice, "k")
	object := getRaw(t, inner, name)
	object.body[len(object.body)-1] ^= 1
	putRaw(t, inner, name, object)
	w.log.set(func(e *audit.Event) bool { return e.Code == audit.CodeIsolation })
	_, err := b.ReadAll(w.a, "k")
	wantIs(t, err, storage.ErrIsolation)
	wantIs(t, err, audit.ErrUnavailable)
}

// A tenant that is suspended or shredded, or that has no keys, is refused everywhere, and the refusals are recorded.
func TestTenantState(t *testing.T) { eachNaming(t, testTenantState) }

func testTenantState(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	must(t, w.ring.Suspend(t.Context(), alice, "offboarding"))
	w.log.take()
	denied := func(ctx context.Context, want error, code gcerrors.ErrorCode) {
		t.Helper()
		errs := everyOperation(b, ctx, "k")
		for name, err := range errs {
			if !errors.Is(err, want) || gcerrors.Code(err) != code {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for _, e := range w.log.take() {
			if e.Status != audit.Denied {
				t.Errorf("recorded %s %s", e.Code, e.Status)
			}
		}
	}
	denied(w.a, keys.ErrSuspended, gcerrors.PermissionDenied)
	denied(accessOf(t.Context(), tenant.MustParse("nobody")), keys.ErrNotProvisioned, gcerrors.FailedPrecondition)
	must(t, w.ring.Resume(t.Context(), alice, "back"))
	_, err := b.ReadAll(w.a, "k")
	must(t, err)
	if names := rawNames(t, inner); len(names) != 1 {
		t.Errorf("the store has %q", names)
	}
}

// The authorizer sees what is done to which object, both ends of a copy included, and its refusal is final.
func TestAuthorizer(t *testing.T) { eachNaming(t, testAuthorizer) }

func testAuthorizer(t *testing.T) {
	w := newWorld(t)
	var seen []tenant.Action
	deny := func(tenant.Action) bool { return false }
	w.guard.Authorizer = tenant.AuthorizerFunc(func(_ context.Context, _ tenant.Access, a tenant.Action) error {
		seen = append(seen, a)
		if deny(a) {
			return errors.New("not yours")
		}
		return nil
	})
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	seen = nil
	must(t, b.Copy(w.a, "to", "k", nil))
	action := func(v tenant.Verb, key string) tenant.Action {
		return tenant.Action{Verb: v, Store: "blob", Name: "records", Key: key}
	}
	if len(seen) != 2 || !sameAction(seen[0], action(tenant.Read, "k")) || !sameAction(seen[1], action(tenant.Write, "to")) {
		t.Errorf("got %+v", seen)
	}
	for _, verb := range []tenant.Verb{tenant.Read, tenant.Write, tenant.Delete, tenant.List} {
		deny = func(a tenant.Action) bool { return a.Verb == verb }
		errs := everyOperation(b, w.a, "k")
		denied := 0
		for _, err := range errs {
			if errors.Is(err, tenant.ErrDenied) {
				wantCode(t, err, gcerrors.PermissionDenied)
				denied++
			}
		}
		// Read: read, range, attributes, copy. Write: write, upload, copy.
		if want := map[tenant.Verb]int{tenant.Read: 4, tenant.Write: 3, tenant.Delete: 1, tenant.List: 1}[verb]; denied != want {
			t.Errorf("%s: %d operations were denied, want %d: %v", verb, denied, want, errs)
		}
		deny = func(tenant.Action) bool { return false }
		must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	}
	deny = func(a tenant.Action) bool { return a.Key == "to" && a.Verb == tenant.Write }
	must(t, inner.Delete(t.Context(), w.nameOf(t, alice, "to")))
	wantIs(t, b.Copy(w.a, "to", "k", nil), tenant.ErrDenied)
	if slices.Contains(rawNames(t, inner), w.nameOf(t, alice, "to")) {
		t.Error("a denied copy left an object")
	}
}

func sameAction(a, b tenant.Action) bool {
	return a.Verb == b.Verb && a.Store == b.Store && a.Name == b.Name && a.Key == b.Key
}

// The log is away for one event and back at once: the portable Writer's second try in Close must not make an object
// of what it has left in its buffer.
func TestLogComesBackBeforeClose(t *testing.T) { eachNaming(t, testLogComesBackBeforeClose) }

func testLogComesBackBeforeClose(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	for _, n := range []int{1, 600} { // below and above what the Writer buffers to find out the content type
		refused := 0
		w.log.set(func(e *audit.Event) bool { refused++; return refused == 1 })
		wantIs(t, b.WriteAll(w.a, "k", pattern(n), nil), audit.ErrUnavailable)
		if names := rawNames(t, inner); len(names) != 0 {
			t.Errorf("with %d bytes the store has %q", n, names)
		}
	}
}
