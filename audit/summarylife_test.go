package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

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
