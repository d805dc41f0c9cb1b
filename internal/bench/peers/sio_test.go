package peers

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	mrand "math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/minio/sio"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/bench/blobstore"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/tenant"
)

type noRecorder struct{}

func (noRecorder) Record(context.Context, *audit.Event) error { return nil }

// side is a way to keep an object in a bucket, sealed.
type side struct {
	write func(content []byte) error
	read  func() (int64, error)
	at    func(offset int64, into []byte) error
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func ours(b *testing.B) side {
	dir := b.TempDir()
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	must(b, err)
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	must(b, err)
	ring, err := keys.Open(b.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true})
	must(b, err)
	b.Cleanup(func() { _ = ring.Close() })
	id := tenant.MustParse("bench")
	must(b, ring.Provision(b.Context(), id))
	bucket, err := blobs.Wrap(blob.NewBucket(blobstore.New()), storage.Guard{Keys: ring, Audit: noRecorder{}}, &blobs.Options{Label: "bench"})
	must(b, err)
	ctx := tenant.NewContext(b.Context(), tenant.Access{Tenant: id, Actor: "bench", Purpose: "bench"})
	buf := make([]byte, 64<<10)
	return side{
		write: func(content []byte) error {
			return bucket.Upload(ctx, "k", bytes.NewReader(content), &blob.WriterOptions{ContentType: "x/y"})
		},
		read: func() (int64, error) {
			r, err := bucket.NewReader(ctx, "k", nil)
			if err != nil {
				return 0, err
			}
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
			if err != nil {
				return n, err
			}
			return n, r.Close()
		},
		at: func(offset int64, into []byte) error {
			r, err := bucket.NewRangeReader(ctx, "k", offset, int64(len(into)), nil)
			if err != nil {
				return err
			}
			if _, err := io.ReadFull(r, into); err != nil {
				return err
			}
			return r.Close()
		},
	}
}

// sios keeps a key per object by hand, as sio asks for, and reads ranges through an io.ReaderAt over the bucket.
func sios(b *testing.B) side {
	bucket := blob.NewBucket(blobstore.New())
	config := sio.Config{MinVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: make([]byte, 32)}
	rand.Read(config.Key)
	ctx, buf := b.Context(), make([]byte, 64<<10)
	return side{
		write: func(content []byte) error {
			w, err := bucket.NewWriter(ctx, "k", &blob.WriterOptions{ContentType: "x/y"})
			if err != nil {
				return err
			}
			sealing, err := sio.EncryptWriter(w, config)
			if err != nil {
				return err
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{sealing}, struct{ io.Reader }{bytes.NewReader(content)}, buf); err != nil {
				return err
			}
			return sealing.Close() // which closes w
		},
		read: func() (int64, error) {
			r, err := bucket.NewReader(ctx, "k", nil)
			if err != nil {
				return 0, err
			}
			plain, err := sio.DecryptReader(r, config)
			if err != nil {
				return 0, err
			}
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{plain}, buf)
			if err != nil {
				return n, err
			}
			return n, r.Close()
		},
		at: func(offset int64, into []byte) error {
			plain, err := sio.DecryptReaderAt(readerAt{ctx, bucket}, config)
			if err != nil {
				return err
			}
			_, err = plain.ReadAt(into, offset)
			return err
		},
	}
}

type readerAt struct {
	ctx    context.Context
	bucket *blob.Bucket
}

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) {
	body, err := r.bucket.NewRangeReader(r.ctx, "k", offset, int64(len(p)), nil)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func Benchmark(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"64m", 64 << 20}, {"4k", 4 << 10}} {
		content := make([]byte, size.bytes)
		for i := range content {
			content[i] = byte(i * 7)
		}
		for name, make := range map[string]func(*testing.B) side{"ours": ours, "sio": sios} {
			b.Run("write."+size.name+"/"+name, func(b *testing.B) {
				s := make(b)
				must(b, s.write(content)) // both of the store's buffers
				must(b, s.write(content))
				b.SetBytes(int64(size.bytes))
				for b.Loop() {
					must(b, s.write(content))
				}
			})
			b.Run("read."+size.name+"/"+name, func(b *testing.B) {
				s := make(b)
				must(b, s.write(content))
				b.SetBytes(int64(size.bytes))
				for b.Loop() {
					if n, err := s.read(); err != nil || n != int64(size.bytes) {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
	content := make([]byte, 64<<20)
	for name, of := range map[string]func(*testing.B) side{"ours": ours, "sio": sios} {
		b.Run("range.4k/"+name, func(b *testing.B) {
			s, into := of(b), make([]byte, 4<<10)
			must(b, s.write(content))
			for b.Loop() {
				must(b, s.at(mrand.Int64N(int64(len(content)-len(into))), into))
			}
		})
	}
}
