package blobs

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/storage"
)

// tampering is one thing an attacker who owns the store does to an object of fourSegments.
type tampering struct {
	name string
	do   func(r *raw)
	// opens is how much of the object may still be read before the error, at most: whole segments before the damage.
	opens int64
	// ranges that do not touch the damage may be read.
	partly bool
}

const fourSegments = 3*plainSegmentSize + 1000

func flip(at int) func(*raw) { return func(r *raw) { r.body[at] ^= 0x40 } }

func cut(n int) func(*raw) { return func(r *raw) { r.body = r.body[:n] } }

func tamperings(t *testing.T) []tampering {
	t.Helper()
	l, ok := layoutOf(SealedOverhead + 3*tagSize + fourSegments)
	if !ok || l.size != fourSegments || l.segments != 4 {
		t.Fatalf("got %+v", l)
	}
	firstPlain, thirdPlain := l.plainStart(1), l.plainStart(3)
	start1, end1 := l.bounds(1)
	_, end2 := l.bounds(2)
	start3, end3 := l.bounds(3)
	var all []tampering
	add := func(name string, opens int64, partly bool, do func(*raw)) {
		all = append(all, tampering{name, do, opens, partly})
	}
	for i := range headersSize {
		// A range beyond the first segment takes the headers from the sealed attributes.
		add(fmt.Sprintf("flip header byte %d", i), 0, true, flip(i))
	}
	for seg := range int64(4) {
		start, end := l.bounds(seg)
		opens := l.plainStart(seg)
		for _, at := range []int64{start, start + 1, (start + end) / 2, end - tagSize - 1, end - tagSize, end - 1} {
			add(fmt.Sprintf("flip byte %d in segment %d", at, seg), opens, true, flip(int(at)))
		}
	}
	add("truncate to nothing", 0, false, cut(0))
	add("truncate within the header", 0, false, cut(objectHeaderSize-1))
	add("truncate to the headers", 0, false, cut(headersSize))
	add("truncate within the first tag", 0, false, cut(headersSize+tagSize-1))
	add("truncate to an empty object's size", 0, false, cut(SealedOverhead))
	add("truncate within the first segment", 0, false, cut(5000))
	// Before the cut an object may be whole: what tells is that its last segment was not sealed as the last one.
	add("truncate to one segment", 0, false, cut(int(start1)))
	add("truncate to one segment and a byte", firstPlain, true, cut(int(start1)+1))
	add("truncate to one segment and an empty one", firstPlain, true, cut(int(start1)+tagSize))
	add("truncate to one segment and a bit", firstPlain, true, cut(int(start1)+tagSize+1))
	add("truncate to two segments", firstPlain, true, cut(int(end1)))
	add("truncate the last byte", thirdPlain, true, cut(int(end3)-1))
	add("drop the last segment", l.plainStart(2), true, cut(int(end2)))
	add("extend by a byte", thirdPlain, true, func(r *raw) { r.body = append(r.body, 0) })
	add("extend by a tag", thirdPlain, true, func(r *raw) { r.body = append(r.body, make([]byte, tagSize)...) })
	add("extend by a segment", thirdPlain, true, func(r *raw) { r.body = append(r.body, r.body[start1:end1]...) })
	add("repeat the last segment", thirdPlain, true, func(r *raw) { r.body = append(r.body, r.body[start3:end3]...) })
	add("repeat a segment", l.plainStart(2), true, func(r *raw) { r.body = slices.Insert(r.body, int(end1), r.body[start1:end1]...) })
	add("drop the middle segment", firstPlain, true, func(r *raw) { r.body = slices.Delete(r.body, int(start1), int(end1)) })
	add("drop the first segment", 0, true, func(r *raw) { r.body = slices.Delete(r.body, headersSize, int(start1)) })
	add("swap two segments", firstPlain, true, func(r *raw) {
		first, second := bytes.Clone(r.body[start1:end1]), bytes.Clone(r.body[end1:end2])
		copy(r.body[start1:], second)
		copy(r.body[end1:], first)
	})
	add("the first segment's place taken by the second's ciphertext", 0, true, func(r *raw) { copy(r.body[headersSize:start1], r.body[start1:end1]) })
	add("zero a segment", firstPlain, true, func(r *raw) { clear(r.body[start1:end1]) })
	add("remove the attributes", 0, false, func(r *raw) { r.meta = nil })
	add("empty the attributes", 0, false, func(r *raw) { r.meta = map[string]string{attributesName: ""} })
	add("break the attributes' encoding", 0, false, func(r *raw) { r.meta = map[string]string{attributesName: "&" + r.meta[attributesName]} })
	return all
}

// Whatever is done to an object, nothing that was not written comes out of it, whole or by ranges, and the attempt is
// an alert.
func TestTampering(t *testing.T) { eachNaming(t, testTampering) }

func testTampering(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	content := pattern(fourSegments)
	must(t, b.WriteAll(w.a, "k", content, &blob.WriterOptions{Metadata: map[string]string{"a": "b"}}))
	name := w.nameOf(t, alice, "k")
	whole := getRaw(t, inner, name)
	for _, c := range tamperings(t) {
		t.Run(c.name, func(t *testing.T) {
			r := raw{bytes.Clone(whole.body), maps.Clone(whole.meta)}
			c.do(&r)
			putRaw(t, inner, name, r)
			w.log.take()
			got, err := b.ReadAll(w.a, "k")
			wantIs(t, err, storage.ErrIsolation)
			wantCode(t, err, gcerrors.FailedPrecondition)
			if int64(len(got)) > c.opens || !bytes.HasPrefix(content, got) {
				t.Errorf("%d bytes came out, want at most %d, and only what was written", len(got), c.opens)
			}
			if n := alerts(w.log.take()); n != 1 {
				t.Errorf("got %d alerts, want 1", n)
			}
			wantIs(t, b.Copy(w.a, "copy", "k", nil), storage.ErrIsolation)
			if names := rawNames(t, inner); len(names) != 1 {
				t.Errorf("the copy of a damaged object left %q", names)
			}
			for _, at := range rangesToTry() {
				got, err := readRange(b, w.a, "k", at[0], at[1])
				want := clip(content, at[0], at[1])
				switch {
				case !bytes.HasPrefix(want, got):
					t.Errorf("range %v: what came out was never written there", at)
				case err == nil && !bytes.Equal(got, want):
					t.Errorf("range %v: got %d bytes and no error, want %d", at, len(got), len(want))
				case err == nil && !c.partly && len(want) > 0:
					t.Errorf("range %v: opened", at)
				}
			}
		})
	}
	putRaw(t, inner, name, whole)
	got, err := b.ReadAll(w.a, "k")
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the undamaged object: %v", err)
	}
}

func rangesToTry() [][2]int64 {
	return [][2]int64{
		{0, 1}, {0, -1}, {1000, 5}, {plainSegmentSize - streamHeaderSize - 1, 2}, {plainSegmentSize, 100}, {plainSegmentSize, -1},
		{2 * plainSegmentSize, 10}, {2 * plainSegmentSize, -1}, {fourSegments - 1, 1}, {fourSegments - 1, 100}, {100, fourSegments},
		{fourSegments, -1}, {fourSegments + 5, 10},
	}
}

func readRange(b *blob.Bucket, ctx contextT, key string, offset, length int64) ([]byte, error) {
	r, err := b.NewRangeReader(ctx, key, offset, length, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func clip(content []byte, offset, length int64) []byte {
	content = content[min(offset, int64(len(content))):]
	if length >= 0 && length < int64(len(content)) {
		content = content[:length]
	}
	return content
}

// A read that begins behind the end of what a truncated object seems to have is not an empty success.
func TestTruncatedBehindTheEnd(t *testing.T) { eachNaming(t, testTruncatedBehindTheEnd) }

func testTruncatedBehindTheEnd(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", pattern(fourSegments), nil))
	name := w.nameOf(t, alice, "k")
	r := getRaw(t, inner, name)
	l, _ := layoutOf(int64(len(r.body)))
	_, end := l.bounds(1)
	putRaw(t, inner, name, raw{r.body[:end], r.meta})
	_, err := readRange(b, w.a, "k", 2*plainSegmentSize, -1)
	wantIs(t, err, storage.ErrIsolation)
}

// Objects opened where they were not written: other keys, buckets, tenants; bodies and attributes apart or together.
func TestMoved(t *testing.T) { eachNaming(t, testMoved) }

func testMoved(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	other, otherInner := w.mem(t, "archive")
	content := pattern(fourSegments)
	must(t, b.WriteAll(w.a, "k", content, nil))
	a := func(key string) string { return w.nameOf(t, alice, key) }
	object := getRaw(t, inner, a("k"))
	must(t, b.WriteAll(w.a, "k2", []byte("another"), nil))
	must(t, b.WriteAll(w.b, "k", []byte("bob's own"), nil))
	must(t, other.WriteAll(w.a, "archived", []byte("archived"), nil))
	refused := func(what string, b *blob.Bucket, ctx contextT, key string) {
		t.Helper()
		w.log.take()
		got, err := b.ReadAll(ctx, key)
		if len(got) > 0 {
			t.Errorf("%s: %d bytes came out", what, len(got))
		}
		wantIs(t, err, storage.ErrIsolation)
		if alerts(w.log.take()) != 1 {
			t.Errorf("%s: no alert", what)
		}
		for _, at := range rangesToTry() {
			if got, err := readRange(b, ctx, key, at[0], at[1]); err == nil && len(got) > 0 {
				t.Errorf("%s: the range %v opened", what, at)
			}
		}
	}
	k2, bobs := getRaw(t, inner, a("k2")), getRaw(t, inner, w.nameOf(t, bob, "k"))

	putRaw(t, inner, a("moved"), object)
	refused("renamed", b, w.a, "moved")
	_, err := b.Attributes(w.a, "moved")
	wantIs(t, err, storage.ErrIsolation)
	putRaw(t, inner, a("k2"), raw{object.body, k2.meta})
	refused("the content under another's attributes", b, w.a, "k2")
	putRaw(t, inner, a("k2"), raw{k2.body, object.meta})
	refused("the attributes over another's content", b, w.a, "k2")
	putRaw(t, inner, w.nameOf(t, bob, "k"), object)
	refused("in another tenant's place", b, w.b, "k")
	putRaw(t, inner, w.nameOf(t, bob, "k"), raw{object.body, bobs.meta})
	refused("in another tenant's place, under its attributes", b, w.b, "k")
	putRaw(t, otherInner, w.nameIn(t, "archive", alice, "k"), object)
	refused("in a bucket of another label", other, w.a, "k")
	putRaw(t, inner, a("archived"), getRaw(t, otherInner, w.nameIn(t, "archive", alice, "archived")))
	refused("of another label", b, w.a, "archived")
}

// Attributes cannot be forged from what the same key seals elsewhere.
func TestAttributesOfAnotherKind(t *testing.T) { eachNaming(t, testAttributesOfAnotherKind) }

func testAttributesOfAnotherKind(t *testing.T) {
	w := newWorld(t)
	b, inner := w.mem(t, "records")
	must(t, b.WriteAll(w.a, "k", []byte("x"), nil))
	name := w.nameOf(t, alice, "k")
	object := getRaw(t, inner, name)
	k, err := tenantkeys.Open(w.a, w.ring, alice)
	must(t, err)
	forged, err := json.Marshal(&attributes{ContentType: "text/html", Headers: object.body[:headersSize]})
	must(t, err)
	for kind, ad := range map[string][]byte{
		"field":       envelope.FieldAD(nil, alice, "records", "k"),
		"page":        envelope.BlobPageAD(nil, alice, "records"),
		"content":     envelope.BlobAD(nil, alice, "records", "k"),
		"other label": envelope.BlobAttrsAD(nil, alice, "archive", "k"),
		"joined":      envelope.BlobAttrsAD(nil, alice, "recordsk", ""),
		"none":        nil,
	} {
		sealed, err := k.Data().Encrypt(forged, ad)
		must(t, err)
		putRaw(t, inner, name, raw{object.body, map[string]string{attributesName: base64.RawURLEncoding.EncodeToString(sealed)}})
		if a, err := b.Attributes(w.a, "k"); err == nil {
			t.Errorf("%s: attributes opened: %+v", kind, a)
		} else {
			wantIs(t, err, storage.ErrIsolation)
		}
	}
}
