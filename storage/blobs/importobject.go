package blobs

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
	"golang.org/x/time/rate"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/redact"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

// provenance is which version of which source an object was imported from. It tells an object that may be imported
// anew from one that may not, and guards nothing; 128 bits of SHA-256 are enough.
type provenance struct {
	Source  []byte `json:"source"`  // of the source's key
	Version []byte `json:"version"` // of what the store says of it
}

func provenanceOf(source string, a *blob.Attributes) *provenance {
	short := func(parts ...string) []byte {
		h := sha256.New()
		for _, p := range parts {
			h.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...))
		}
		return h.Sum(nil)[:16]
	}
	return &provenance{short(source), short(source, fmt.Sprint(a.Size), string(a.MD5), a.ETag, a.ModTime.UTC().String())}
}

// fromSource returns an error of the source's without what its driver repeats of signed URLs and of where a local store keeps its files. What it
// is, errors.Is and errors.As still find.
func fromSource(err error) error { return redact.Path(redact.Error(err)) }

// importObject brings one object over, or finds that it is there.
func (m *importer) importObject(ctx context.Context, source string) (key string, done ImportAction, n int64, err error) {
	key = source
	if m.opts.Key != nil {
		var ok bool
		err := ask("ImportOptions.Key", func() error {
			key, ok = m.opts.Key(source)
			return nil
		})
		if err != nil {
			return "", "", 0, err
		}
		if !ok {
			return "", ImportLeftOut, 0, nil
		}
	}
	a, err := m.from.Attributes(ctx, source)
	if err != nil {
		return key, "", 0, fmt.Errorf("look up the source: %w", fromSource(err))
	}
	if sealed, err := m.isSealed(ctx, source, a); sealed || err != nil {
		return key, ImportSealed, 0, err
	}
	whole, err := wholeKey(ctx, m.to, key)
	if err != nil {
		return key, "", 0, err
	}
	from := provenanceOf(source, a)
	there, err := m.bucket.lookUp(ctx, whole)
	switch {
	case err != nil:
		return key, "", 0, err
	case there == nil:
	case there.Imported == nil || !bytes.Equal(there.Imported.Source, from.Source):
		return key, "", 0, ErrImportConflict
	case bytes.Equal(there.Imported.Version, from.Version):
		done, err := m.find(ctx, source, whole, a, there)
		if done != "" || err != nil {
			return key, done, 0, err
		}
	}
	if m.opts.DryRun {
		return key, ImportNew, a.Size, nil
	}
	n, err = m.copy(ctx, source, whole, a, from, there == nil)
	return key, ImportNew, n, err
}

// isSealed reports whether a source object is one of this package's. Its metadata alone an uploader could imitate, so as
// to be left out.
func (m *importer) isSealed(ctx context.Context, source string, a *blob.Attributes) (bool, error) {
	if _, ok := layoutOf(a.Size); !ok || a.Metadata[attributesName] == "" {
		return false, nil
	}
	r, err := m.from.NewRangeReader(ctx, source, 0, objectHeaderSize, nil)
	if err != nil {
		return false, fmt.Errorf("read the source: %w", fromSource(err))
	}
	header, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return false, fmt.Errorf("read the source: %w", fromSource(err))
	}
	_, err = envelope.ParseBlobHeader(header)
	return err == nil, nil
}

// lookUp returns the sealed attributes of an object, or nil where there is none.
func (b *bucket) lookUp(ctx context.Context, key string) (*attributes, error) {
	s, err := b.look(ctx, key)
	switch {
	case b.noObject(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s.sealed, nil
}

// find verifies an object that an earlier run imported from this version of the source. It returns no action for one
// that does not hold, which is imported anew.
func (m *importer) find(ctx context.Context, source, whole string, a *blob.Attributes, there *attributes) (ImportAction, error) {
	line := m.line(whole, there)
	m.mu.Lock()
	done := m.verified[line]
	m.mu.Unlock()
	if done && !m.opts.DeleteSource { // which is no time to rely on what was so once
		return ImportDone, nil
	}
	if m.opts.DryRun {
		return ImportVerified, nil
	}
	sum, want := hash.Hash(md5.New()), a.MD5
	if len(want) == 0 {
		sum = sha256.New()
		if err := m.readSource(ctx, source, a, sum); err != nil {
			return "", err
		}
		want = sum.Sum(nil)
		sum.Reset()
	}
	_, err := m.readBack(ctx, whole, sum)
	switch {
	case errors.Is(err, storage.ErrIsolation), err == nil && !bytes.Equal(sum.Sum(nil), want):
		return "", nil
	case err != nil:
		return "", err
	}
	if done {
		return ImportVerified, nil
	}
	return ImportVerified, m.checkpoint(line)
}

// copy seals the source's content, checks that it was one version throughout before the object comes to be, and reads
// it back.
func (m *importer) copy(ctx context.Context, source, whole string, a *blob.Attributes, from *provenance, create bool) (int64, error) {
	attrs := &attributes{
		ContentType: a.ContentType, CacheControl: a.CacheControl, ContentDisposition: a.ContentDisposition,
		ContentEncoding: a.ContentEncoding, ContentLanguage: a.ContentLanguage, MD5: a.MD5, Metadata: a.Metadata, Imported: from,
	}
	w, err := m.bucket.newWriterOf(ctx, whole, attrs, &driver.WriterOptions{IfNotExist: create})
	if create && m.bucket.existed(err) {
		return 0, fmt.Errorf("%w: %w", ErrImportConflict, err)
	}
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	if err := m.readSource(ctx, source, a, io.MultiWriter(w, sum)); err != nil && w.err == nil {
		w.err = err // Close drops the draft
	}
	if err := w.Close(); err != nil {
		if create && m.bucket.existed(err) {
			return 0, fmt.Errorf("%w: %w", ErrImportConflict, err)
		}
		return 0, err
	}
	back := sha256.New()
	headers, err := m.readBack(ctx, whole, back)
	if err != nil {
		return w.written, fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(back.Sum(nil), sum.Sum(nil)) || !bytes.Equal(headers, attrs.Headers) {
		return w.written, errors.New("what was read back is not what was written; does somebody else write this object?")
	}
	return w.written, m.checkpoint(m.line(whole, attrs))
}

// readSource reads a source object, which must be the version that a describes from beginning to end.
func (m *importer) readSource(ctx context.Context, source string, a *blob.Attributes, into io.Writer) error {
	r, err := m.from.NewReader(ctx, source, nil)
	if err != nil {
		return fmt.Errorf("read the source: %w", fromSource(err))
	}
	defer r.Close()
	sum := md5.New()
	n, err := io.CopyBuffer(io.MultiWriter(into, sum), m.limited(ctx, r), make([]byte, segmentSize))
	if err != nil {
		return fmt.Errorf("read the source: %w", fromSource(err))
	}
	now, err := m.from.Attributes(ctx, source)
	if err != nil {
		return fmt.Errorf("look up the source again: %w", fromSource(err))
	}
	if n != a.Size || len(a.MD5) > 0 && !bytes.Equal(sum.Sum(nil), a.MD5) ||
		!bytes.Equal(provenanceOf(source, now).Version, provenanceOf(source, a).Version) {
		return ErrSourceChanged
	}
	return nil
}

// readBack reads an object of the tenant to its end, and returns the headers of what it read.
func (m *importer) readBack(ctx context.Context, whole string, into io.Writer) ([]byte, error) {
	opened, err := m.bucket.newReader(ctx, whole, 0, -1, &driver.ReaderOptions{}, nil)
	if err != nil {
		return nil, err
	}
	headers := opened.object.headers
	_, err = io.CopyBuffer(struct{ io.Writer }{into}, m.limited(ctx, opened), make([]byte, segmentSize))
	return headers, errors.Join(err, opened.Close())
}

// limited reads no faster than the options say, and no more at a time than the limiter's burst.
func (m *importer) limited(ctx context.Context, r io.Reader) io.Reader {
	return &limitedReader{ctx, m.limiter, r}
}

type limitedReader struct {
	ctx     context.Context
	limiter *rate.Limiter
	r       io.Reader
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), segmentSize)])
	if waited := l.limiter.WaitN(l.ctx, n); waited != nil && (err == nil || err == io.EOF) {
		err = waited
	}
	return n, err
}

// deleteSource passes the gate to delete a source object.
func (m *importer) deleteSource(ctx context.Context, source, key string) error {
	whole, err := wholeKey(ctx, m.to, key)
	if err != nil {
		return err
	}
	there, err := m.bucket.lookUp(ctx, whole)
	if err != nil {
		return err
	}
	// The source is outside of the guard, and the tenant's data all the same: what becomes of it is on record before.
	op := m.bucket.op(audit.CodeBlobSource, tenant.Delete, whole)
	op.Details["source"] = source
	pass, err := m.bucket.gate.Enter(ctx, op)
	if err != nil {
		return err
	}
	err = m.deleteUnchanged(ctx, source, there)
	return m.bucket.leave(ctx, pass, whole, gate.Result{Rows: -1, Bytes: -1, Err: err})
}

// deleteUnchanged deletes a source object that is still the version that an object was imported from.
func (m *importer) deleteUnchanged(ctx context.Context, source string, there *attributes) error {
	a, err := m.from.Attributes(ctx, source)
	if err != nil {
		return fmt.Errorf("look up the source before deleting it: %w", fromSource(err))
	}
	if there == nil || there.Imported == nil || !bytes.Equal(there.Imported.Version, provenanceOf(source, a).Version) {
		return ErrSourceChanged
	}
	var o *blob.DeleteOptions
	if m.opts.IfMatch != nil {
		o = &blob.DeleteOptions{BeforeDelete: matched(m.opts.IfMatch, a)}
	}
	err = m.from.DeleteWithOptions(ctx, source, o)
	if m.opts.IfMatch != nil && gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return ErrSourceChanged
	}
	if err != nil {
		return fmt.Errorf("delete the source: %w", fromSource(err))
	}
	return nil
}

// errCheckpoint is wrapped by errors of the checkpoint.
var errCheckpoint = errors.New("blobs: the checkpoint cannot be kept")

// checkpointLine is a line's length: unpadded base64url of SHA-256, and a line feed.
const checkpointLine = 44

// line stands for one version of an object that was verified. The random salt among the headers makes it that version's
// alone, and nobody's guess.
func (m *importer) line(whole string, a *attributes) string {
	h := sha256.New()
	for _, part := range []string{m.tenant.String(), m.bucket.label, whole, string(a.Headers), string(a.Imported.Version)} {
		h.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(part))), part...))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// readCheckpoint returns the lines of a checkpoint. What is no line, such as a last one that was cut short, stands for
// nothing, and the object is verified again.
func readCheckpoint(c io.ReadWriter) (map[string]bool, error) {
	verified := map[string]bool{}
	if c == nil {
		return verified, nil
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	for line := range bytes.Lines(text) {
		if len(line) == checkpointLine && line[checkpointLine-1] == '\n' {
			verified[string(line[:checkpointLine-1])] = true
		}
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		if _, err := io.WriteString(c, "\n"); err != nil {
			return nil, fmt.Errorf("%w: %w", errCheckpoint, err)
		}
	}
	return verified, nil
}

func (m *importer) checkpoint(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verified[line] = true
	if m.opts.Checkpoint == nil {
		return nil
	}
	err := ask("ImportOptions.Checkpoint", func() error {
		_, err := io.WriteString(m.opts.Checkpoint, line+"\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	return nil
}
