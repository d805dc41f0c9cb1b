package blobs

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"gocloud.dev/blob"
)

const benchSize = 64 << 20

func BenchmarkWrite64M(b *testing.B) {
	w := newWorld(b)
	bucket, _ := w.mem(b, "bench")
	content := pattern(benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		must(b, bucket.Upload(w.a, "k", bytes.NewReader(content), &blob.WriterOptions{ContentType: "x/y"}))
	}
}

func BenchmarkRead64M(b *testing.B) {
	w := newWorld(b)
	bucket, _ := w.mem(b, "bench")
	must(b, bucket.WriteAll(w.a, "k", pattern(benchSize), nil))
	b.SetBytes(benchSize)
	for b.Loop() {
		r, err := bucket.NewReader(w.a, "k", nil)
		must(b, err)
		_, err = io.Copy(struct{ io.Writer }{io.Discard}, r)
		must(b, err)
		must(b, r.Close())
	}
}

func BenchmarkRange4K(b *testing.B) {
	w := newWorld(b)
	bucket, _ := w.mem(b, "bench")
	must(b, bucket.WriteAll(w.a, "k", pattern(benchSize), nil))
	buf := make([]byte, 4096)
	b.SetBytes(4096)
	for b.Loop() {
		r, err := bucket.NewRangeReader(w.a, "k", rand.Int64N(benchSize-4096), 4096, nil)
		must(b, err)
		_, err = io.ReadFull(r, buf)
		must(b, err)
		must(b, r.Close())
	}
}

// A key of three segments, to its name and back.
func BenchmarkSealName(b *testing.B) {
	w := sealedWorld(b)
	s := w.scopeIn(b, "bench")
	for b.Loop() {
		_, err := s.name("patients/jane-doe/2026-11-27.pdf")
		must(b, err)
	}
}

func BenchmarkOpenName(b *testing.B) {
	w := sealedWorld(b)
	s := w.scopeIn(b, "bench")
	name, err := s.name("patients/jane-doe/2026-11-27.pdf")
	must(b, err)
	for b.Loop() {
		_, _, err := (&opener{sealedScope: s}).key(name)
		must(b, err)
	}
}
