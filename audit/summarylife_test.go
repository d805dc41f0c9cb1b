package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// lives are two logs that go on from one and the same, under one key: after the first 40 events acme has more in the one, and beta in the
// other, in just the same segments. A third tenant's follow in both.
func lives(t *testing.T) (acmes, betas string) {
	t.Helper()
	beta := tenant.MustParse("beta")
	dir, opts := aging(t)
	opts.HeadEvery = 1000
	record := func(dir string, ids ...tenant.ID) {
		l := mustOpen(t, dir, opts)
		for i := range 40 {
			mustRecord(t, l, query(ids[i%len(ids)], fmt.Sprint(10+i)))
			if i%10 == 0 {
				mustCheckpoint(t, l)
			}
		}
		mustClose(t, l)
	}
	record(dir, acme, beta)
	betas = copyDir(t, dir)
	record(dir, acme)
	record(betas, beta)
	record(dir, globex)
	record(betas, globex)
	return dir, betas
}

// TestSummariesOfOtherEvents: a genuine summary of another log under the same key hides no events from a bundle, although they are as
// many.
func TestSummariesOfOtherEvents(t *testing.T) {
	dir, other := lives(t)
	segments, err1 := listSegments(dir)
	others, err2 := listSegments(other)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	whole, about := writeBundle(t, dir, acme)
	for i, first := range segments[:len(segments)-1] {
		if j := slices.Index(others, first); j >= 0 && j+1 < len(others) && others[j+1] == segments[i+1] {
			writeFile(t, summaryPath(dir, first), readFile(t, summaryPath(other, first)))
		}
	}
	var b bytes.Buffer
	got, err := WriteBundle(background, &b, dir, acme, nil)
	var bad *TamperError
	if !errors.As(err, &bad) || bad.File != summariesName {
		t.Fatalf("a bundle of %d of %d events, and %v", got.Events, about.Events, err)
	}
	if _, err := VerifyBundle(background, &b, []string{ownVerifier(t, dir)}); !errors.Is(err, ErrTampered) {
		t.Errorf("what was written of it is taken for a bundle: %v", err)
	}
	// What the error says is enough to go on.
	for range segments {
		remove(t, summaryPath(dir, bad.Index))
		b.Reset()
		if _, err = WriteBundle(background, &b, dir, acme, nil); !errors.As(err, &bad) {
			break
		}
	}
	if err != nil || !bytes.Equal(b.Bytes(), whole) {
		t.Errorf("%d bytes of %d, %v", b.Len(), len(whole), err)
	}
	l := mustOpen(t, dir, nil)
	mustRetain(t, l, nil)
	mustClose(t, l)
}

// mixed gives a log the summaries of the segments of another that begin and end with the same events, and returns how many.
func mixed(t *testing.T, dir, other string) (n int) {
	t.Helper()
	segments, err1 := listSegments(dir)
	others, err2 := listSegments(other)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for i, first := range segments[:len(segments)-1] {
		name := summaryPath(dir, first)
		if j := slices.Index(others, first); j >= 0 && j+1 < len(others) && others[j+1] == segments[i+1] && !bytes.Equal(readFile(t, name), readFile(t, summaryPath(other, first))) {
			writeFile(t, name, readFile(t, summaryPath(other, first)))
			n++
		}
	}
	if n == 0 {
		t.Fatalf("no segment of the one is about as many events as one of the other: %v, %v", segments, others)
	}
	return n
}

// TestSummariesOfOtherEventsHideNone: a genuine summary of another life of the log, about as many events, hides none from readers, and
// keeps them from passing over no other segment. Retention makes the right one.
func TestSummariesOfOtherEventsHideNone(t *testing.T) {
	for _, leaves := range []bool{false, true} { // are the other life's as well
		dir, other := lives(t)
		_, before := read(t, dir, Filter{Tenant: acme})
		n := mixed(t, dir, other)
		if leaves {
			for name := range leafFiles(t, dir) {
				if data, err := os.ReadFile(filepath.Join(other, segmentsName, name)); err == nil {
					writeFile(t, filepath.Join(dir, segmentsName, name), data)
				}
			}
		}
		for _, f := range []Filter{{Tenant: acme}, {Tenant: tenant.MustParse("beta")}, {Tenant: globex}, {Code: CodeQuery, Tenant: acme}} {
			whole := f
			whole.Whole = true
			want, _ := read(t, dir, whole)
			got, skipped := read(t, dir, f)
			if !sameEntries(got, want) {
				t.Errorf("%+v: %d of %d events", f, len(got), len(want))
			}
			if !leaves && f.Tenant == acme && skipped < before-n {
				t.Errorf("%d segments are skipped, and %d were before %d summaries were replaced", skipped, before, n)
			}
			var watched []Entry
			f.Since = entries(t, dir, nil)[0].Time
			for e, err := range Watch(t.Context(), []string{dir}, &WatchOptions{Filter: &f, Every: 1}) {
				if err != nil {
					t.Fatal(err)
				}
				if watched = append(watched, e); len(watched) == len(want) {
					break
				}
			}
			if !sameEntries(watched, want) {
				t.Errorf("%+v: following gives %d of %d events", f, len(watched), len(want))
			}
		}
		if leaves {
			continue
		}
		l := mustOpen(t, dir, nil)
		mustRetain(t, l, nil)
		mustClose(t, l)
		wantSummaries(t, dir)
		if _, skipped := read(t, dir, Filter{Tenant: acme}); skipped < before {
			t.Errorf("behind retention %d segments are skipped of %d", skipped, before)
		}
	}
}

// TestSummariesAnyLife: of a log that was put back from backups again and again, with whatever summaries of its other lives were left lying
// there, a filter selects what it selects without summaries.
func TestSummariesAnyLife(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := []tenant.ID{acme, globex, tenant.MustParse("beta"), tenant.MustParse("zeta")}
	strange, skips := 0, 0
	for range 8 {
		dir, opts := aging(t)
		opts.HeadEvery = 1000
		mustClose(t, mustOpen(t, dir, opts))
		lives := []string{dir}
		for range 6 {
			dir := copyDir(t, lives[r.IntN(len(lives))])
			l := mustOpen(t, dir, opts)
			one := ids[r.IntN(len(ids))]
			for i := range 10 + r.IntN(30) {
				e := query(one, fmt.Sprint(10+i)) // of one length, so that segments of several lives end alike
				mustRecord(t, l, e)
				if r.IntN(10) == 0 {
					mustCheckpoint(t, l)
				}
			}
			if r.IntN(3) == 0 {
				mustRetain(t, l, &Retention{Compress: true, Bytes: 30 << 10})
			}
			mustClose(t, l)
			lives = append(lives, dir)
		}
		for range 10 {
			dir := copyDir(t, lives[r.IntN(len(lives))])
			for _, name := range summaryNames(t, lives[r.IntN(len(lives))]) {
				if own := filepath.Join(dir, summariesName, filepath.Base(name)); r.IntN(2) == 0 {
					if is, err := os.ReadFile(own); err == nil && !bytes.Equal(is, readFile(t, name)) {
						strange++
					}
					if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
						t.Fatal(err)
					}
					writeFile(t, own, readFile(t, name))
				}
			}
			all := entries(t, dir, nil)
			for _, id := range ids {
				f := Filter{Tenant: id}
				if r.IntN(2) == 0 {
					f.Since = all[r.IntN(len(all))].Time
				}
				want := slices.DeleteFunc(slices.Clone(all), func(e Entry) bool { return !f.match(&e) })
				got, n := read(t, dir, f)
				if skips += n; !sameEntries(got, want) {
					t.Fatalf("%+v selects %d, with summaries %d", f, len(want), len(got))
				}
			}
		}
	}
	if strange == 0 || skips == 0 {
		t.Errorf("%d summaries of other lives, %d segments skipped", strange, skips)
	}
}

// leafFiles are the names of the files with a log's leaf hashes.
func leafFiles(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names, err := segmentFileNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, name := range names {
		if filepath.Ext(name) == ".leaves" {
			all[name] = true
		}
	}
	return all
}

// TestSummariesAreBoundCheaply: that summaries are of the log's events is shown without the leaf hashes of segments that have one.
func TestSummariesAreBoundCheaply(t *testing.T) {
	dir, _ := phased(t)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, want := read(t, dir, Filter{Tenant: acme})
	for _, first := range segments[:len(segments)-1] {
		remove(t, leavesPath(dir, first))
	}
	if _, got := read(t, dir, Filter{Tenant: acme}); got != want || want == 0 {
		t.Errorf("%d segments are skipped, and %d with leaf hashes", got, want)
	}
}

// TestSummariesOfThePreviousForm: what an earlier release signed is not gone by, is compared all the same with the events since that release
// goes by it, and is made anew by retention.
func TestSummariesOfThePreviousForm(t *testing.T) {
	dir, opts := phased(t)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	signer := ownSigner(t, dir)
	earlier := func(first int64, change func(*packedSummary)) {
		_, body, _ := bytes.Cut(readFile(t, summaryPath(dir, first)), []byte("\n\n"))
		_, body, _ = bytes.Cut(body, []byte("\n\n"))
		var p packedSummary
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		p.Nodes = nil
		change(&p)
		body, err := p.body()
		if err != nil {
			t.Fatal(err)
		}
		content, err := signBody(signer, summaryText1, body)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, summaryPath(dir, first), content)
	}
	right := readFile(t, summaryPath(dir, segments[1]))
	for _, first := range segments[:len(segments)-1] {
		earlier(first, func(*packedSummary) {})
	}
	if r := mustVerify(t, dir); r.Summaries != 0 {
		t.Errorf("%d of the form of an earlier release are counted", r.Summaries)
	}
	if _, n := read(t, dir, Filter{Tenant: acme}); n > 0 {
		t.Errorf("%d segments are skipped", n)
	}
	kept := copyDir(t, dir)
	earlier(segments[1], hideTenants)
	var bad *TamperError
	if _, err := Verify(background, dir, nil); !errors.As(err, &bad) || bad.File != summariesName || bad.Index != segments[1] {
		t.Errorf("one that is wrong: %v", err)
	}
	dir = kept
	l := mustOpen(t, dir, opts)
	mustRetain(t, l, nil)
	mustClose(t, l)
	wantSummaries(t, dir)
	if !bytes.Equal(readFile(t, summaryPath(dir, segments[1])), right) {
		t.Error("what was made of it is another")
	}
}

// TestBundleOfChangedFiles: a head leaf that comes to be there while a bundle is written is not left out unnoticed.
func TestBundleOfChangedFiles(t *testing.T) {
	dir, other := lives(t)
	segments, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	removeAll(t, filepath.Join(dir, summariesName))
	back := map[string][]byte{}
	for _, first := range segments {
		if name := segmentPath(dir, first); first > 40 {
			if data, err := os.ReadFile(segmentPath(other, first)); err == nil {
				back[name] = readFile(t, name)
				writeFile(t, name, data)
			}
		}
	}
	if len(back) == 0 {
		t.Fatal("no segment of the other log has such a name")
	}
	opts := &BundleOptions{Progress: func(int64, int64) { // the first time behind the look for the head leaf
		for name, data := range back {
			writeFile(t, name, data)
		}
	}}
	b, err := WriteBundle(background, &bytes.Buffer{}, dir, acme, opts)
	if !errors.Is(err, ErrTampered) {
		t.Errorf("a bundle of %d events, and %v", b.Events, err)
	}
}
