package blobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/envelope"
)

// serve answers GET and HEAD.
func (h *Handler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, g *envelope.Grant) (err error) {
	c := &content{bucket: h.bucket, ctx: ctx, key: g.Key}
	defer func() { _ = c.close() }() // of what a middleware's ResponseWriter ends by a panic
	r, offset, length := wanted(r)
	switch {
	case r.Method == http.MethodHead:
		err = c.look()
	case offset < 0:
		// How long the object is comes first, and may be of another version than what is opened then; that has its own length, which is
		// authenticated with its last bytes.
		if err = c.open(0, 0); err == nil {
			size := c.size
			err = c.close()
			c = &content{bucket: h.bucket, ctx: ctx, key: g.Key}
			if err == nil {
				err = c.open(max(size+offset, 0), -1)
			}
		}
	default:
		err = c.open(offset, length)
	}
	if err != nil {
		return err
	}
	h.describe(w.Header(), c.sealed)
	// The tag names the version by what its key is derived from. That is random for each, and no segment opens under
	// another's: ranges that a client joins by this tag are of one version.
	sum := sha256.Sum256(c.headers)
	w.Header().Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	http.ServeContent(&wholeWriter{w, c.size}, r, "", c.modified, c)
	if err := errors.Join(c.err, c.close()); err != nil {
		return &brokenOff{err}
	}
	return nil
}

// wholeWriter says how long a whole object is also where it has an encoding of its own, of which http.ServeContent does not, as it may be a
// middleware's. By HTTP/1.0, which proxies speak, an answer without a length that is broken off passes for a whole one.
type wholeWriter struct {
	http.ResponseWriter
	size int64
}

func (w *wholeWriter) WriteHeader(status int) {
	if status == http.StatusOK && w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.FormatInt(w.size, 10))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *wholeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// wanted returns the range that the answer probably is of, so that the store is asked for no more. ServeContent decides
// what it is of in the end; content then opens that. An offset below zero is from the end. A range is taken for a GET alone (RFC 9110,
// 14.2), if it is one, and with If-Range for an entity tag: two versions of an object may have the same date, which is to the second.
func wanted(r *http.Request) (_ *http.Request, offset, length int64) {
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	tags := func(v string) bool { return strings.HasPrefix(v, `"`) }
	if !ok || r.Method != http.MethodGet || len(r.Header.Values("Range")) > 1 || strings.Contains(spec, ",") ||
		slices.ContainsFunc(r.Header.Values("If-Range"), func(v string) bool { return !tags(v) }) {
		if len(r.Header["Range"]) > 0 {
			r = r.Clone(r.Context())
			r.Header.Del("Range")
		}
		return r, 0, -1
	}
	from, to, _ := strings.Cut(spec, "-")
	first, err := strconv.ParseUint(strings.TrimSpace(from), 10, 62)
	if err != nil {
		last, _ := strconv.ParseUint(strings.TrimSpace(to), 10, 62)
		return r, -max(int64(last), 1), -1
	}
	last, err := strconv.ParseUint(strings.TrimSpace(to), 10, 62)
	if err != nil || last < first {
		return r, int64(first), -1
	}
	return r, int64(first), int64(last-first) + 1
}

// describe sets the headers that come from the object. What the application stored as cache headers is for its own use
// of the bucket.
func (h *Handler) describe(header http.Header, a *attributes) {
	header.Set("Cache-Control", h.opts.CacheControl)
	header.Set("Content-Type", storedContentType)
	for name, value := range map[string]string{"Content-Type": a.ContentType, "Content-Encoding": a.ContentEncoding, "Content-Language": a.ContentLanguage} {
		if value != "" {
			header.Set(name, value)
		}
	}
	switch {
	case !h.opts.Inline:
		header.Set("Content-Disposition", attachment(a.ContentDisposition))
		header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	case a.ContentDisposition != "":
		header.Set("Content-Disposition", a.ContentDisposition)
	}
}

// attachment keeps the file name of a Content-Disposition, and nothing else.
func attachment(disposition string) string {
	if _, params, err := mime.ParseMediaType(disposition); err == nil && params["filename"] != "" {
		if s := mime.FormatMediaType("attachment", map[string]string{"filename": params["filename"]}); s != "" {
			return s
		}
	}
	return "attachment"
}

// content is an object as http.ServeContent takes it. Each opening passes the gate; in all but odd cases there is one.
type content struct {
	bucket *bucket
	ctx    context.Context
	key    string

	// Of the version that was opened first, which every other opening must find again.
	headers  []byte
	sealed   *attributes
	size     int64
	modified time.Time

	reader *reader // nil where nothing is open
	at     int64   // where reader is
	end    int64   // where reader ends
	offset int64   // where ServeContent is
	err    error   // of reading; sticky
}

var _ io.ReadSeeker = (*content)(nil)

func (c *content) found(s *stat, headers []byte) {
	c.headers, c.sealed, c.size, c.modified = headers, s.sealed, s.layout.size, s.stored.ModTime
}

// look opens no content, and records none as read.
func (c *content) look() error {
	s, err := c.bucket.look(c.ctx, c.key)
	if err != nil {
		return err
	}
	c.found(s, s.sealed.Headers)
	return nil
}

// open opens length bytes from offset, or all where length is negative.
func (c *content) open(offset, length int64) error {
	r, err := c.bucket.newReader(c.ctx, c.key, offset, length, &driver.ReaderOptions{}, nil)
	if err != nil {
		return err
	}
	if c.sealed == nil {
		c.found(r.object.stat, r.object.headers)
	} else if !bytes.Equal(c.headers, r.object.headers) || c.size != r.object.stat.layout.size {
		return errors.Join(errors.New("blobs: the object was replaced while it was being served"), r.Close())
	}
	c.reader, c.at, c.end = r, min(offset, c.size), c.size
	if length >= 0 && length < c.size-c.at {
		c.end = c.at + length
	}
	return nil
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.offset >= c.size {
		return 0, io.EOF
	}
	if c.reader == nil || c.at != c.offset {
		if c.err = c.close(); c.err == nil {
			c.err = c.open(c.offset, -1)
		}
		if c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.reader.Read(p)
	c.at, c.offset = c.at+int64(n), c.offset+int64(n)
	if c.at == c.end {
		// The outcome is recorded before the last bytes leave: later the client could no longer be told that it was not.
		if err := c.close(); err != nil {
			c.err = err
			return 0, err
		}
		return n, nil
	}
	if err == io.EOF { // a reader ends at its end only
		err = fmt.Errorf("blobs: the object ended at %d of %d bytes: %w", c.offset, c.size, io.ErrUnexpectedEOF)
	}
	c.err = err
	return n, err
}

// Seek implements io.Seeker. It opens nothing.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("blobs: seek before the beginning of the object")
	}
	c.offset = offset
	return offset, nil
}

func (c *content) close() error {
	if c.reader == nil {
		return nil
	}
	r := c.reader
	c.reader = nil
	return r.Close()
}
