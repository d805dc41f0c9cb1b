package main

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	mrand "math/rand/v2"

	"filippo.io/age"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/bench/blobstore"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/tenant"
)

const (
	bigObject   = 64 << 20
	smallObject = 4 << 10
	chunk       = 64 << 10
)

// Both sides write to and read from the same store in memory through *blob.Bucket, and ours records to nowhere: the
// rows are about sealing. The raw bucket is what it costs not to seal at all.
func blobRows() []Row {
	const (
		gcm    = "raw AES-256-GCM in 64 KiB chunks, same store"
		tink   = "Tink's streaming AEAD, 1 MB segments, same store"
		x25519 = "age (X25519), same store"
		raw    = "not sealed, same store"
	)
	rows := []Row{}
	for _, peer := range []struct {
		suffix, name string
		new          func() (sealer, error)
		ranges       bool // whether it reads ranges without reading all before them
	}{
		{"", gcm, newGCMSealer, true}, {".raw", raw, newPlainSealer, true}, {".tink", tink, newTinkSealer, false}, {".age", x25519, newAgeSealer, false},
	} {
		add := func(id string, size int, ours, theirs func(*blobBench) func(n int) error) {
			rows = append(rows, Row{id + peer.suffix, peer.name, func() (*Pair, error) { return blobPair(peer.new, size, ours, theirs) }})
		}
		add("blob.write.64m", bigObject, (*blobBench).write, (*blobBench).peerWrite)
		add("blob.read.64m", bigObject, (*blobBench).read, (*blobBench).peerRead)
		add("blob.range.4k", bigObject, (*blobBench).readRange, (*blobBench).peerRange)
		add("blob.write.4k", smallObject, (*blobBench).write, (*blobBench).peerWrite)
		add("blob.read.4k", smallObject, (*blobBench).read, (*blobBench).peerRead)
	}
	return append(rows, Row{"blob.read.4k.durable", raw + ", no trail", func() (*Pair, error) {
		return durableBlobs(newPlainSealer, smallObject, (*blobBench).read, (*blobBench).peerRead)
	}})
}

// sealer is an alternative: what an application would put between itself and its bucket.
type sealer interface {
	seal(w io.Writer) (io.WriteCloser, error)
	open(r io.Reader) (io.Reader, error)
	// seek opens 4 KiB at an offset of the content.
	seek(ctx context.Context, b *blob.Bucket, key string, offset int64, into []byte) error
}

// blobBench is a guarded and a plain bucket over the same kind of store, each with the object "k".
type blobBench struct {
	ctx          context.Context
	ours, theirs *blob.Bucket
	peer         sealer
	content, buf []byte
}

type noRecorder struct{}

func (noRecorder) Record(context.Context, *audit.Event) error { return nil }

func blobPair(newPeer func() (sealer, error), size int, ours, theirs func(*blobBench) func(n int) error) (*Pair, error) {
	return recordedBlobs(noRecorder{}, newPeer, size, ours, theirs)
}

// durableBlobs records ours in a log on the disk.
func durableBlobs(newPeer func() (sealer, error), size int, ours, theirs func(*blobBench) func(n int) error) (*Pair, error) {
	log, _, cleanLog, err := openTrail(nil)
	if err != nil {
		return nil, err
	}
	p, err := recordedBlobs(log, newPeer, size, ours, theirs)
	if err != nil {
		cleanLog()
		return nil, err
	}
	cleanup := p.Cleanup
	p.Cleanup = func() { cleanup(); cleanLog() }
	return p, nil
}

func recordedBlobs(log audit.Recorder, newPeer func() (sealer, error), size int, ours, theirs func(*blobBench) func(n int) error) (*Pair, error) {
	f, err := newFixture(1)
	if err != nil {
		return nil, err
	}
	ring, err := f.ring(f.kek, nil)
	if err != nil {
		return nil, err
	}
	b := &blobBench{content: make([]byte, size), buf: make([]byte, chunk), theirs: blob.NewBucket(blobstore.New())}
	b.ctx = tenant.NewContext(context.Background(), tenant.Access{Tenant: f.ids[0], Actor: "bench", Purpose: "bench"})
	for i := range b.content {
		b.content[i] = byte(i * 7)
	}
	if b.peer, err = newPeer(); err != nil {
		return nil, err
	}
	b.ours, err = blobs.Wrap(blob.NewBucket(blobstore.New()), storage.Guard{Keys: ring, Audit: log}, &blobs.Options{Label: "bench"})
	if err != nil {
		return nil, err
	}
	for range 2 { // both of the store's buffers
		if err := b.write()(1); err != nil {
			return nil, err
		}
		if err := b.peerWrite()(1); err != nil {
			return nil, err
		}
	}
	return &Pair{Ours: ours(b), Peer: theirs(b), Cleanup: f.cleanup}, nil
}

func times(n int, do func() error) error {
	for range n {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// writeTo writes the content in pieces as io.Copy would.
func (b *blobBench) writeTo(bucket *blob.Bucket, seal func(io.Writer) (io.WriteCloser, error)) error {
	w, err := bucket.NewWriter(b.ctx, "k", &blob.WriterOptions{ContentType: "x/y"})
	if err != nil {
		return err
	}
	sealing, err := seal(w)
	if err != nil {
		return err
	}
	for left := b.content; len(left) > 0; left = left[min(chunk, len(left)):] {
		if _, err := sealing.Write(left[:min(chunk, len(left))]); err != nil {
			return err
		}
	}
	if err := sealing.Close(); err != nil {
		return err
	}
	return w.Close()
}

// nopCloser leaves the writer below it to its owner.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (b *blobBench) readFrom(bucket *blob.Bucket, open func(io.Reader) (io.Reader, error)) error {
	r, err := bucket.NewReader(b.ctx, "k", nil)
	if err != nil {
		return err
	}
	plain, err := open(r)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{plain}, b.buf)
	if err == nil && n != int64(len(b.content)) {
		err = fmt.Errorf("read %d bytes of %d", n, len(b.content))
	}
	if err != nil {
		return err
	}
	return r.Close()
}

func (b *blobBench) write() func(int) error {
	plain := func(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil }
	return func(n int) error { return times(n, func() error { return b.writeTo(b.ours, plain) }) }
}

func (b *blobBench) peerWrite() func(int) error {
	return func(n int) error { return times(n, func() error { return b.writeTo(b.theirs, b.peer.seal) }) }
}

func (b *blobBench) read() func(int) error {
	plain := func(r io.Reader) (io.Reader, error) { return r, nil }
	return func(n int) error { return times(n, func() error { return b.readFrom(b.ours, plain) }) }
}

func (b *blobBench) peerRead() func(int) error {
	return func(n int) error { return times(n, func() error { return b.readFrom(b.theirs, b.peer.open) }) }
}

func (b *blobBench) offset() int64 { return mrand.Int64N(int64(len(b.content)) - smallObject) }

func (b *blobBench) readRange() func(int) error {
	into := make([]byte, smallObject)
	return func(n int) error {
		return times(n, func() error { return readRange(b.ctx, b.ours, b.offset(), into) })
	}
}

func readRange(ctx context.Context, bucket *blob.Bucket, offset int64, into []byte) error {
	r, err := bucket.NewRangeReader(ctx, "k", offset, int64(len(into)), nil)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, into); err != nil {
		return err
	}
	return r.Close()
}

func (b *blobBench) peerRange() func(int) error {
	into := make([]byte, smallObject)
	return func(n int) error {
		return times(n, func() error { return b.peer.seek(b.ctx, b.theirs, "k", b.offset(), into) })
	}
}

// plainSealer does nothing.
type plainSealer struct{}

func newPlainSealer() (sealer, error) { return plainSealer{}, nil }

func (plainSealer) seal(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil }
func (plainSealer) open(r io.Reader) (io.Reader, error)      { return r, nil }
func (plainSealer) seek(ctx context.Context, b *blob.Bucket, _ string, offset int64, into []byte) error {
	return readRange(ctx, b, offset, into)
}

// gcmSealer is the least that an application can do: chunks of 64 KiB of content under one key, numbered.
type gcmSealer struct {
	gcm     cipher.AEAD
	sealed  []byte
	section []byte
}

func newGCMSealer() (sealer, error) {
	gcm, err := newGCM()
	return &gcmSealer{gcm, make([]byte, 0, chunk+16), make([]byte, chunk+16)}, err
}

type gcmWriter struct {
	s     *gcmSealer
	w     io.Writer
	index uint64
}

func nonce(index uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4, 12), index) }

func (s *gcmSealer) seal(w io.Writer) (io.WriteCloser, error) { return &gcmWriter{s: s, w: w}, nil }

// Write takes whole chunks.
func (w *gcmWriter) Write(p []byte) (int, error) {
	sealed := w.s.gcm.Seal(w.s.sealed[:0], nonce(w.index), p, nil)
	w.index++
	_, err := w.w.Write(sealed)
	return len(p), err
}

func (w *gcmWriter) Close() error { return nil }

type gcmReader struct {
	s     *gcmSealer
	r     io.Reader
	index uint64
	plain []byte
}

func (s *gcmSealer) open(r io.Reader) (io.Reader, error) { return &gcmReader{s: s, r: r}, nil }

func (r *gcmReader) Read(p []byte) (int, error) {
	if len(r.plain) == 0 {
		n, err := io.ReadFull(r.r, r.s.section)
		if err != nil && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if r.plain, err = r.s.gcm.Open(r.s.section[:0], nonce(r.index), r.s.section[:n], nil); err != nil {
			return 0, err
		}
		r.index++
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// seek reads the one chunk that the offset is in; where the range crosses into the next, it gives what there is.
func (s *gcmSealer) seek(ctx context.Context, b *blob.Bucket, key string, offset int64, into []byte) error {
	index := offset / chunk
	r, err := b.NewRangeReader(ctx, key, index*(chunk+16), chunk+16, nil)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, s.section); err != nil {
		return err
	}
	plain, err := s.gcm.Open(s.section[:0], nonce(uint64(index)), s.section, nil)
	copy(into, plain[offset-index*chunk:])
	if err != nil {
		return err
	}
	return r.Close()
}

// streamSealer is a streaming format that is read from its beginning.
type streamSealer struct {
	sealing func(io.Writer) (io.WriteCloser, error)
	opening func(io.Reader) (io.Reader, error)
}

func (s *streamSealer) seal(w io.Writer) (io.WriteCloser, error) { return s.sealing(w) }
func (s *streamSealer) open(r io.Reader) (io.Reader, error)      { return s.opening(r) }

func (s *streamSealer) seek(ctx context.Context, b *blob.Bucket, key string, offset int64, into []byte) error {
	r, err := b.NewReader(ctx, key, nil)
	if err != nil {
		return err
	}
	plain, err := s.opening(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, plain, offset); err != nil {
		return err
	}
	if _, err := io.ReadFull(plain, into); err != nil {
		return err
	}
	return r.Close()
}

func newTinkSealer() (sealer, error) {
	h, err := keyset.NewHandle(streamingaead.AES256GCMHKDF1MBKeyTemplate())
	if err != nil {
		return nil, err
	}
	var s tink.StreamingAEAD
	if s, err = streamingaead.New(h); err != nil {
		return nil, err
	}
	ad := []byte("bench/k")
	return &streamSealer{
		func(w io.Writer) (io.WriteCloser, error) { return s.NewEncryptingWriter(w, ad) },
		func(r io.Reader) (io.Reader, error) { return s.NewDecryptingReader(r, ad) },
	}, nil
}

func newAgeSealer() (sealer, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return &streamSealer{
		func(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, id.Recipient()) },
		func(r io.Reader) (io.Reader, error) { return age.Decrypt(r, id) },
	}, nil
}
