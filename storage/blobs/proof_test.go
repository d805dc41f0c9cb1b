package blobs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// What does not open as what was read does not get by, whatever is wrong with it, and however it is cut into writes.
func TestProof(t *testing.T) {
	w := newWorld(t)
	k, err := tenantkeys.Open(t.Context(), w.ring, alice)
	must(t, err)
	for _, n := range []int{0, 1, plainSegmentSize - streamHeaderSize, 3*plainSegmentSize + 17} {
		content, ad := pattern(n), envelope.BlobAD(nil, alice, "records", "x")
		var sealed bytes.Buffer
		sealing, err := k.Blobs().NewEncryptingWriter(&sealed, ad)
		must(t, err)
		_, err = sealing.Write(content)
		must(t, errors.Join(err, sealing.Close()))
		headers := append(envelope.AppendBlobHeader(nil, k.BlobKeyID()), sealed.Next(streamHeaderSize)...)
		stream := sealed.Bytes()
		l, ok := layoutOf(int64(headersSize + len(stream)))
		if !ok {
			t.Fatal(n)
		}
		sum := sha256.Sum256(content)
		prove := func(ad, stream, sum []byte, step int) ([]byte, error) {
			s, err := newSegments(k, headers, ad)
			must(t, err)
			var got bytes.Buffer
			p := &proof{to: &got, segments: s, layout: l, sum: sha256.New()}
			for rest := stream; len(rest) > 0; {
				m := min(step, len(rest))
				if _, err := p.Write(rest[:m]); err != nil {
					return got.Bytes(), err
				}
				rest = rest[m:]
			}
			return got.Bytes(), p.whole(sum)
		}
		for _, step := range []int{1 << 30, 1000, segmentSize} {
			if got, err := prove(ad, stream, sum[:], step); err != nil || !bytes.Equal(got, stream) {
				t.Errorf("%d bytes by %d: %d, %v", n, step, len(got), err)
			}
		}
		flipped := bytes.Clone(stream)
		flipped[len(flipped)-1] ^= 1
		other := sha256.Sum256([]byte("other"))
		for what, err := range map[string]error{
			"a flipped bit":   second(prove(ad, flipped, sum[:], 5000)),
			"another sum":     second(prove(ad, stream, other[:], 5000)),
			"another place":   second(prove(envelope.BlobAD(nil, alice, "records", "y"), stream, sum[:], 5000)),
			"a byte too few":  second(prove(ad, stream[:len(stream)-1], sum[:], 5000)),
			"a byte too many": second(prove(ad, append(bytes.Clone(stream), 0), sum[:], 5000)),
			"nothing":         second(prove(ad, nil, sum[:], 5000)),
		} {
			if !errors.Is(err, errUnproven) {
				t.Errorf("%d bytes, %s: %v", n, what, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
