package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/strongroom-go/strongroom/tenant"
)

// VerifyBundle checks a tenant's bundle (see [WriteBundle]) offline and without the log: that its events are the first
// of the tenant's in the log (or, with [Bundle.After], the first behind so many), in order, none left out, added or changed, and that the log's key signed a tree in which
// that is stated. Verifiers are the log's public keys, in the form of golang.org/x/mod/sumdb/note, from a source that is
// trusted: [Log.Verifier]. It reads r to its end, in memory of a few events.
//
// An error that wraps [ErrTampered] says what is wrong with the bundle. Whoever has the log's key can sign another log:
// what shows that this is the one is a pin, or a witness, that knows the bundle's tree head.
func VerifyBundle(ctx context.Context, r io.Reader, verifiers []string) (*Bundle, error) {
	if len(verifiers) == 0 {
		return nil, errors.New("audit: give VerifyBundle the log's verifier key, from a source that is trusted; a bundle cannot vouch for itself")
	}
	lines := newLineReader(ctxReader{ctx, r})
	line, err := nextBundleLine(ctx, lines)
	if err != nil {
		return nil, err
	}
	c, err := newBundleCheck(line, verifiers)
	if err != nil {
		return nil, err
	}
	for {
		line, err := nextBundleLine(ctx, lines)
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(line, []byte(trailerBegin)) {
			if err := c.trailer(line); err != nil {
				return nil, err
			}
			break
		}
		if err := c.event(line); err != nil {
			return nil, err
		}
	}
	if rest, err := lines.next(); err != io.EOF || len(rest) > 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, badBundle("something stands behind its end")
	}
	return &c.bundle, nil
}

// nextBundleLine returns the next line without its newline.
func nextBundleLine(ctx context.Context, lines *lineReader) ([]byte, error) {
	line, err := lines.next()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == io.EOF:
		return nil, badBundle("it has no end: it was cut, or writing it did not succeed")
	case err == errLongLine:
		return nil, badBundle("%v", err)
	case err != nil:
		return nil, fmt.Errorf("audit: reading the bundle: %w", err)
	}
	return line[:len(line)-1], nil
}

func newBundleCheck(header []byte, verifiers []string) (*bundleCheck, error) {
	var h bundleHeader
	if err := decodeStrictly(header, &h); err != nil || h.Format != bundleFormat {
		return nil, badBundle("it does not begin as a bundle does")
	}
	if h.Version != bundleVersion && h.Version != bundleVersionAfter {
		return nil, fmt.Errorf("audit: the bundle has version %d and this program knows versions up to %d; use the release of Strongroom that it was made with, or a newer one", h.Version, bundleVersionAfter)
	}
	id, err := tenant.Parse(h.Tenant)
	if err != nil {
		return nil, badBundle("its tenant is not a tenant id")
	}
	if (h.After > 0) != (h.Version == bundleVersionAfter) || h.After < 0 || len(h.Edge) != bits.OnesCount64(uint64(h.After)) {
		return nil, badBundle("it does not say as a bundle does which events are not in it")
	}
	return &bundleCheck{
		verifiers: verifiers, bundle: Bundle{Origin: h.Origin, Tenant: id, After: h.After}, tree: frontier{h.After, h.Edge}, hasher: newLeafHasher(),
	}, nil
}

func (c *bundleCheck) trailer(line []byte) error {
	var t bundleTrailer
	if len(line) > maxTrailer || decodeStrictly(line, &t) != nil {
		return badBundle("it does not end as a bundle does")
	}
	return c.end(&t)
}

// decodeStrictly decodes one JSON object without fields that v has not.
func decodeStrictly(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.InputOffset() != int64(len(data)) {
		return errors.New("something follows the object")
	}
	return nil
}
