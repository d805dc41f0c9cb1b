package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// TestAhead: lines come as lineReader has them, with what was worked out of each.
func TestAhead(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	broken := errors.New("broken")
	long := strings.Repeat("x", maxLine+512<<10)
	for i := range 60 {
		var b strings.Builder
		for range random.IntN(400) {
			n := random.IntN(3000)
			if random.IntN(100) == 0 {
				n = random.IntN(maxLine)
			}
			b.WriteString(strings.Repeat(string(rune('a'+random.IntN(26))), n) + "\n")
		}
		b.WriteString([]string{"", "the beginning of a line", long}[i%3])
		open := func() io.Reader {
			r := io.Reader(strings.NewReader(b.String()))
			switch i % 4 {
			case 1:
				r = iotest.HalfReader(r)
			case 2:
				r = io.MultiReader(io.LimitReader(r, int64(b.Len()/2)), iotest.ErrReader(broken))
			case 3:
				r = iotest.DataErrReader(r)
			}
			return r
		}
		a := newAhead(t.Context(), open(), factsOf)
		lines := newLineReader(open())
		hasher := newLeafHasher()
		for k := 0; ; k++ {
			want, wantErr := lines.next()
			got, fact, err := a.next()
			if wantErr == errLongLine && err == errLongLine {
				break // what is left of it differs
			}
			if err != wantErr || !bytes.Equal(got, want) {
				t.Fatalf("%d, line %d: %d bytes, %v; want %d, %v", i, k, len(got), err, len(want), wantErr)
			}
			if err != nil {
				if again, _, err2 := a.next(); !bytes.Equal(again, got) || err2 != err {
					t.Errorf("%d: after the end %d bytes, %v", i, len(again), err2)
				}
				break
			}
			if fact.hash != hasher.leaf(want[:len(want)-1]) {
				t.Fatalf("%d, line %d: the hash is another one", i, k)
			}
		}
		a.close()
	}
}

// TestAheadEnds: nothing is left running, wherever reading stops.
func TestAheadEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	data := strings.Repeat(strings.Repeat("x", 1000)+"\n", 20_000)
	for i := range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		a := newAhead(ctx, strings.NewReader(data), func() func([]byte) int { return func(b []byte) int { return len(b) } })
		for range i * 100 {
			if _, n, err := a.next(); err != nil || n != 1000 {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if i%2 == 0 {
			cancel()
			for range 20_001 { // which must end, with an error
				if _, _, err := a.next(); err != nil {
					break
				}
			}
		}
		a.close()
		cancel()
	}
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
}

// TestVerifyAlone compares Verify with a replay by one goroutine, of logs that are whole and that are not.
func TestVerifyAlone(t *testing.T) {
	dir, key, _ := sample(t)
	whole := mustVerify(t, dir)
	random := rand.New(rand.NewPCG(7, 8))
	verifiers, err := verifierList([]string{key}, whole.Origin)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		changed := copyDir(t, dir)
		if i > 0 {
			names := segments(t, changed)
			name := names[random.IntN(len(names))]
			data := readFile(t, name)
			switch at := random.IntN(len(data)); i % 4 {
			case 0:
				data[at] ^= 1
			case 1:
				data = data[:at]
			case 2:
				data = append(data, data[at:]...)
			case 3:
				data = append(data[:at:at], data[min(at+1+random.IntN(3000), len(data)):]...)
			}
			writeFile(t, name, data)
		}
		alone := &replay{fs: vfs.OS{}, dir: changed, origin: whole.Origin, verifiers: verifiers}
		found := summaryCheck{fs: vfs.OS{}, dir: changed, segments: map[int64]*packedSummary{}}
		alone.whole = found.whole
		wantErr := alone.run(t.Context())
		got, err := Verify(t.Context(), changed, nil)
		want := alone.report()
		want.Summaries = found.there
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || got.String() != want.String() || got.Head != want.Head {
			t.Errorf("%d: %v\n%s\nby one goroutine: %v\n%s", i, err, got, wantErr, want)
		}
	}
}
