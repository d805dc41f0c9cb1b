package blobs

import (
	"context"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
)

// What happens to an object while it is moved to its newer name stands.
func TestNamesMeddledWith(t *testing.T) {
	for name, c := range map[string]struct {
		during func(*testing.T, *resealed, string)
		want   string // empty for absent
	}{
		"overwritten": {func(t *testing.T, r *resealed, key string) {
			must(t, r.bucket.WriteAll(r.a, key, []byte("other"), nil))
		}, "other"},
		"deleted": {func(t *testing.T, r *resealed, key string) { must(t, r.bucket.Delete(r.a, key)) }, ""},
		"deleted and made again": {func(t *testing.T, r *resealed, key string) {
			must(t, r.bucket.Delete(r.a, key))
			must(t, r.bucket.WriteAll(r.a, key, []byte("again"), nil))
		}, "again"},
		"read": {func(t *testing.T, r *resealed, key string) { _ = r.seen(t, r.a, key) }, "content"},
		"listed": {func(t *testing.T, r *resealed, key string) {
			if all := r.listed(t, nil); !slices.Equal(all, []string{"dir/x 7"}) {
				t.Errorf("%q", all)
			}
		}, "content"},
		"another run": {func(t *testing.T, r *resealed, key string) {
			_, err := r.reseal(r.a)
			must(t, err)
		}, "content"},
		"created": {func(t *testing.T, r *resealed, key string) {
			wantCode(t, r.bucket.WriteAll(r.a, key, []byte("x"), &blob.WriterOptions{IfNotExist: true}), gcerrors.FailedPrecondition)
		}, "content"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range resealStores() {
				t.Run(s.name, func(t *testing.T) {
					m := &meddled{bucketDriver: innerDriver(s.open(t))}
					r := &resealed{world: quickWorld(t, t.TempDir()), inner: m.b, opts: s.opts, store: s.name}
					r.sealNames = true
					r.bucket = r.wrap(t, blob.NewBucket(m), "records")
					const key = "dir/x"
					must(t, r.bucket.WriteAll(r.a, key, []byte("content"), rich(1)))
					r.rotate(t, keys.PurposeNames)
					newest, staged, writes := r.nameOf(t, alice, key), 0, 0
					m.set(func(name string) {
						// Of the newest name the mark is written first; on files the object is staged, after two tries and the mark.
						if name == newest {
							writes++
						}
						if strings.HasPrefix(name, stagingPrefix(alice)) {
							staged++
						}
						if s.name != "files" && name == newest && writes == 2 || s.name == "files" && staged == 4 {
							m.set(nil)
							c.during(t, r, key)
						}
					})
					report, err := r.reseal(r.a)
					must(t, err)
					if len(report.Left) != 0 {
						t.Errorf("%+v", report)
					}
					got, err := r.bucket.ReadAll(r.a, key)
					if c.want == "" {
						wantCode(t, err, gcerrors.NotFound)
					} else if string(got) != c.want {
						t.Errorf("%q, %v", got, err)
					}
					_, err = r.reseal(r.a)
					must(t, err)
					if all := rawNames(t, r.inner); len(all) > 1 || len(all) == 0 && c.want != "" {
						t.Errorf("%q are left", all)
					}
				})
			}
		})
	}
}

// What a killed run leaves: a mark, with the object and without; and an object at both names.
func TestNamesAfterACrash(t *testing.T) {
	eachSealed(t, func(t *testing.T, r *resealed) {
		for _, key := range []string{"marked", "gone", "both", "half"} {
			must(t, r.bucket.WriteAll(r.a, key, []byte("older"), rich(1)))
		}
		both := getRaw(t, r.inner, r.nameOf(t, alice, "both"))
		was := r.nameOf(t, alice, "both")
		r.rotate(t, keys.PurposeNames)
		run := newResealer(guarded(r.bucket), r.opts)
		k, err := tenantkeys.Open(t.Context(), r.ring, alice)
		must(t, err)
		run.replace = sole{run.bucket}
		for _, key := range []string{"marked", "gone"} {
			s, err := run.marked(t.Context(), k, key, r.nameOf(t, alice, key))
			if err != nil || !s.sealed.Mark {
				t.Fatal(s, err)
			}
		}
		// Files: the content was renamed into a mark's place, and the attributes were not.
		half, err := run.place(k, "half")
		must(t, err)
		_, err = run.marked(t.Context(), k, "half", half.names[0])
		must(t, err)
		putRaw(t, r.inner, half.names[0], raw{getRaw(t, r.inner, half.names[1]).body, getRaw(t, r.inner, half.names[0]).meta})
		p, err := run.place(k, "gone")
		must(t, err)
		must(t, r.inner.Delete(t.Context(), p.names[1]))
		must(t, r.bucket.WriteAll(r.a, "both", []byte("newer"), rich(2)))
		putRaw(t, r.inner, was, both)

		check := func() {
			t.Helper()
			for key, want := range map[string]string{"marked": "older", "both": "newer", "half": "older"} {
				if got, err := r.bucket.ReadAll(r.a, key); string(got) != want {
					t.Errorf("%s is %q, %v; want %q", key, got, err, want)
				}
			}
			_, err := r.bucket.ReadAll(r.a, "gone")
			wantCode(t, err, gcerrors.NotFound)
			_, err = r.bucket.Attributes(r.a, "gone")
			wantCode(t, err, gcerrors.NotFound)
			if all := r.listed(t, nil); !slices.Equal(all, []string{"both 5", "half 5", "marked 5"}) {
				t.Errorf("%q", all)
			}
		}
		check()
		report, err := r.reseal(r.a)
		if err != nil || len(report.Left) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		check()
		if all := rawNames(t, r.inner); len(all) != 3 {
			t.Errorf("%q", all)
		}
	})
}

// Names of both keys do not mix, and one whose key is disabled says so.
func TestNamesOfTwoKeysAttacked(t *testing.T) {
	r := &resealed{world: quickWorld(t, t.TempDir()), inner: memory(), opts: ResealOptions{SoleProcess: true}}
	r.sealNames = true
	r.bucket = r.wrap(t, r.inner, "records")
	must(t, r.bucket.WriteAll(r.a, "dir/x", []byte("older"), nil))
	must(t, r.bucket.WriteAll(r.b, "dir/x", []byte("theirs"), nil))
	older, theirs := r.nameOf(t, alice, "dir/x"), r.nameOf(t, bob, "dir/x")
	r.rotate(t, keys.PurposeNames)
	newer := r.nameOf(t, alice, "dir/x")
	for what, name := range map[string]string{
		"a directory of one key and a name of the other": newer[:strings.LastIndexByte(newer, '/')] + older[strings.LastIndexByte(older, '/'):],
		"the other way round":                            older[:strings.LastIndexByte(older, '/')] + newer[strings.LastIndexByte(newer, '/'):],
		"another tenant's":                               sealedPrefix(alice) + strings.TrimPrefix(theirs, sealedPrefix(bob)),
	} {
		putRaw(t, r.inner, name, getRaw(t, r.inner, older))
		r.log.take()
		_, err := r.bucket.List(nil).Next(r.a)
		wantIs(t, err, storage.ErrIsolation)
		if alerts(r.log.take()) == 0 {
			t.Errorf("%s: no alert", what)
		}
		report, err := Reseal(r.a, r.bucket, &ResealOptions{DryRun: true})
		wantIs(t, err, storage.ErrIsolation)
		// It is counted, or where the store lists it first, by which the way of naming is told, nothing is.
		if n, uncounted := report.Remaining(keys.PurposeNames); n == 0 && uncounted == nil {
			t.Errorf("%s: %+v", what, report)
		}
		must(t, r.inner.Delete(t.Context(), name))
	}
	// Another tenant's object, and the tenant's own under another name, at the newest name.
	putRaw(t, r.inner, newer, getRaw(t, r.inner, theirs))
	_, err := r.bucket.ReadAll(r.a, "dir/x")
	wantIs(t, err, storage.ErrIsolation)
	must(t, r.inner.Delete(t.Context(), newer))
	_, err = r.reseal(r.a)
	must(t, err)
	must(t, r.ring.DisableKey(t.Context(), alice, keys.PurposeNames, r.key(t, keys.PurposeNames, 0), "old",
		func(context.Context) (int64, error) { return r.count(t).Remaining(keys.PurposeNames) }))
	putRaw(t, r.inner, older, raw{[]byte("x"), nil})
	_, err = r.bucket.List(nil).Next(r.a)
	wantIs(t, err, keys.ErrKeyDisabled)
	report, err := Reseal(r.a, r.bucket, &ResealOptions{DryRun: true})
	wantIs(t, err, keys.ErrKeyDisabled)
	if n, err := report.Remaining(keys.PurposeNames); err == nil && n != 1 {
		t.Errorf("%d, %+v", n, report)
	}
}
