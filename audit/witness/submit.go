package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
)

// ErrUnavailable says that a witness did not answer as it should; it may be asked again.
var ErrUnavailable = errors.New("witness: unavailable")

// Options are the optional settings of [NewSubmitter].
type Options struct {
	// LogKeys are the log's verifier keys; without them those in its log.json are used.
	LogKeys []string
	// Client sends the requests. Default: one that gives up after 30 s. Redirects are never followed.
	Client *http.Client
}

// Submitter submits one log to one witness. It is not safe for use by several goroutines.
type Submitter struct {
	dir     string
	url     string
	witness note.Verifier
	keys    []string
	prover  *audit.Prover
	client  *http.Client
	known   int64 // the size that the witness signed last, as far as is known
}

// NewSubmitter returns a submitter of the log in dir. prefix is the witness's submission prefix, an http or https URL; plain
// http gives nothing away and lets nobody forge a signature. key is the witness's verifier key, from a source that is
// trusted. opts may be nil.
func NewSubmitter(dir, prefix, key string, opts *Options) (*Submitter, error) {
	if opts == nil {
		opts = &Options{}
	}
	u, err := url.Parse(prefix)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("witness: the submission prefix is not an http or https URL, without a user and a query")
	}
	w, err := verifier(key)
	if err != nil {
		return nil, err
	}
	p, err := audit.NewProver(dir, opts.LogKeys)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 30 * time.Second}
	if opts.Client != nil {
		client = *opts.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &Submitter{
		dir: dir, url: u.JoinPath("add-checkpoint").String(), witness: w, keys: p.Verifiers(), prover: p, client: &client,
	}
	switch c, err := load(dir, s.keys, w); {
	case err == nil:
		s.known = c.Head.Size
	case errors.Is(err, audit.ErrTampered), errors.Is(err, fs.ErrNotExist):
		// The witness says what it knows.
	default:
		return nil, err
	}
	return s, nil
}

// Submit asks the witness to sign the log's newest checkpoint, keeps what it signed in the log's directory, and returns it.
// Where the log has not grown, the witness signs the same again, with a newer time.
//
// An error that wraps [audit.ErrTampered] says that the log is not the one that the witness knows, grown: it was cut, an
// older copy was put in its place, or it was written anew. One that wraps [ErrUnavailable] may be tried again. Any other is
// about the settings, or about the log's directory.
func (s *Submitter) Submit(ctx context.Context) (*Cosigned, error) {
	// The second time with what the witness said it knows, the third where another submitter came between.
	for range 3 {
		g, err := s.prover.Prove(ctx, s.known)
		if err != nil {
			return nil, err
		}
		status, kind, body, err := s.post(ctx, g)
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			return s.keep(g, body)
		case http.StatusConflict:
			size, err := strconv.ParseInt(strings.TrimSuffix(string(body), "\n"), 10, 64)
			if kind != "text/x.tlog.size" || err != nil || size < 0 {
				return nil, s.unavailable("it answered 409 without the size that it knows")
			}
			if size == s.known && g.From.Size == g.To.Size {
				return nil, s.tampered("it signed another tree of %d events: this log was written anew, or there are two under one name", size)
			}
			if size == s.known {
				return nil, s.unavailable("it says that it knows %d events, and refuses a proof from there", size)
			}
			s.known = size
		case http.StatusUnprocessableEntity:
			return nil, s.tampered("it signed %d events that are not the first ones of this log: the log was written anew, or there are two under one name", s.known)
		case http.StatusNotFound:
			return nil, fmt.Errorf("witness: %s does not know this log; have its operator add the log's origin and verifier key", s.witness.Name())
		case http.StatusForbidden:
			return nil, fmt.Errorf("witness: %s knows this log under another key; have its operator replace the log's verifier key", s.witness.Name())
		default:
			return nil, s.unavailable("it answered %d", status)
		}
	}
	return nil, s.unavailable("others submit the log at the same time")
}

func (s *Submitter) unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUnavailable, s.witness.Name(), fmt.Sprintf(format, args...))
}

func (s *Submitter) tampered(format string, args ...any) error {
	return fmt.Errorf("%w: witness %s: %s", audit.ErrTampered, s.witness.Name(), fmt.Sprintf(format, args...))
}

func (s *Submitter) post(ctx context.Context, g *audit.Growth) (status int, kind string, body []byte, err error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "old %d\n", g.From.Size)
	for _, h := range g.Proof {
		fmt.Fprintln(&text, h)
	}
	text.WriteByte('\n')
	text.Write(g.Checkpoint)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, &text)
	if err != nil {
		return 0, "", nil, fmt.Errorf("witness: %w", err)
	}
	resp, err := s.client.Do(req)
	if ctx.Err() != nil {
		return 0, "", nil, ctx.Err()
	}
	if err != nil {
		return 0, "", nil, s.unavailable("%v", err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, maxNote)); err != nil {
		return 0, "", nil, s.unavailable("%v", err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body, nil
}

// keep checks what a witness answered and writes it beside the log.
func (s *Submitter) keep(g *audit.Growth, signatures []byte) (*Cosigned, error) {
	var own []byte // the witness may sign with keys that nobody here knows
	for line := range bytes.Lines(signatures) {
		if text := append(bytes.Clone(g.Checkpoint), line...); own == nil {
			if _, err := note.Open(text, note.VerifierList(s.witness)); err == nil {
				own = text
			}
		}
	}
	if own == nil {
		return nil, s.unavailable("it answered without a signature of the checkpoint by the key that is given for it")
	}
	c, err := parse(own, s.keys, s.witness)
	if err != nil {
		return nil, s.unavailable("%v", err)
	}
	s.known = c.Head.Size
	if err := write(path(s.dir, s.witness), c.Note); err != nil {
		return nil, fmt.Errorf("witness: the cosignature cannot be kept: %w", err)
	}
	return c, nil
}

// write replaces a file, or leaves it as it was.
func write(name string, data []byte) (err error) {
	dir := filepath.Dir(name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.CreateTemp(dir, ".note-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
