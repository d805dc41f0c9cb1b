package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// Entry is an event as it stands in a log.
type Entry struct {
	Log           string // the log's name, [Options.Origin]; of an event that a stream brought, its trail's
	Index         int64  // in the log, from 0
	Time          time.Time
	Code          Code
	Phase         Phase
	Status        Status
	Severity      string
	Tenant        string // "" for the log's own events
	Sequence      int64  // among the tenant's events, from 1; 0 for a head leaf, and for a tenant that the log does not number
	Actor         string // the pseudonym
	Purpose       string
	Request       string
	Transaction   string
	Store         string
	Name          string // the database's or the bucket's
	Tables        []string
	Columns       []string
	SealedColumns []string
	Statement     string
	Fingerprint   string
	KeyVersion    uint32
	Rows          int64 // -1 where unknown
	Bytes         int64 // -1 where unknown
	Reason        string
	UID           string
	Correlation   string
	Stream        string // the [Stream] that brought it; "" for none
	Number        int64  // in the stream
	Sealed        []byte // what the tenant's Sealer made of actor and details; nil for none
	Truncated     bool   // something was too long, or had no Sealer, and is left out
	Raw           []byte // the line's exact bytes, without the newline: the leaf of the tree
}

// Filter selects entries; the zero value of each field selects all.
type Filter struct {
	Tenant tenant.ID
	Code   Code // one code, or all of a kind with a trailing dot: "sql."
	Status Status
	// Actor is one actor's pseudonym, which another tenant does not have.
	Actor   string
	Purpose string
	// Object is the name of a database, a bucket, or one of the tables.
	Object string
	// Since and Until bound the time: from Since, and before Until.
	Since, Until time.Time

	// Whole has every segment read, whatever its summary says: see "Summaries" in the package documentation.
	Whole bool
	// Verifiers are the logs' public keys, from a source that is trusted, by one of which a summary must be signed to be gone by, and
	// the record of what retention deleted to be believed: a log with another one is an error that wraps [ErrTampered]. Without them those
	// in log.json are used. They select nothing, and check nothing else.
	Verifiers []string
	// Skipped is called for each log before its first entry with how many of its segments are not read, because nothing in them can be
	// selected, by the goroutine that takes the entries. It selects nothing.
	Skipped func(segments, of int)
	// Progress is called now and then, by the goroutine that takes the entries, with the bytes read and the bytes there are. It
	// selects nothing.
	Progress func(done, total int64)
}

// Check returns why nothing can match the filter, nil for one that something may: an empty answer would be taken for one. What takes a
// filter calls it; who does long work before that may call it first.
func (f *Filter) Check() error {
	switch {
	case f == nil:
	case f.Code != "" && !slices.ContainsFunc(Codes(), func(c Code) bool { return c == f.Code || f.kind() && strings.HasPrefix(string(c), string(f.Code)) }):
		return fmt.Errorf("audit: no event has the code %q; Codes lists those that there are, and a kind of them ends with a dot", f.Code)
	case f.Status != "" && !slices.Contains([]Status{Success, Failure, Denied, Unknown}, f.Status):
		return fmt.Errorf("audit: no event has the status %q; use %s, %s, %s or %s", f.Status, Success, Failure, Denied, Unknown)
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return errors.New("audit: the filter's Since is not before its Until")
	}
	return nil
}

func (f *Filter) kind() bool { return strings.HasSuffix(string(f.Code), ".") }

func (f *Filter) match(e *Entry) bool {
	switch {
	case f == nil:
		return true
	case !f.Tenant.IsZero() && e.Tenant != f.Tenant.String(),
		f.Code != "" && e.Code != f.Code && !(f.kind() && strings.HasPrefix(string(e.Code), string(f.Code))),
		f.Status != "" && e.Status != f.Status,
		f.Actor != "" && e.Actor != f.Actor,
		f.Purpose != "" && e.Purpose != f.Purpose,
		f.Object != "" && e.Name != f.Object && !slices.Contains(e.Tables, f.Object),
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && !e.Time.Before(f.Until):
		return false
	}
	return true
}

// Read returns the entries of the log in dir that filter selects (nil for all), oldest first. It needs no lock, and
// checks nothing but the form: run [Verify] first. Segments in which nothing can be selected, as their signed summaries say, are not read. After an error the sequence ends. What is unfinished behind the last
// checkpoint, and will be cut off when the log is opened, is passed over. A filter that nothing can match, such as a code that there is none of, is an error.
func Read(ctx context.Context, dir string, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := filter.Check(); err != nil {
			yield(Entry{}, err)
			return
		}
		sealed := sealedIn(dir) // first: what it seals is there when the segments are read
		known, err := summariesOf(dir, filter)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		trusted, err := filter.trusted(dir)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		segments, deleted, err := retained(dir, trusted, nil)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		skip := known.skipped(ctx, segments, deleted, filter)
		filter.tellSkipped(skip)
		readSegments(ctx, dir, segments, skip, sealed, filter, yield)
	}
}

// sealedIn returns how many events the newest checkpoint of a log seals, or -1 where there is none that can be told from a
// forged one.
func sealedIn(dir string) int64 {
	config, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		return -1
	}
	verifiers, err := verifierList(config.Verifiers, config.Origin)
	if err != nil {
		return -1
	}
	c, err := newestCheckpoint(dir, config.Origin, verifiers)
	if err != nil {
		return -1
	}
	return c.tree.N
}

// readSegments reads segments of which at least sealed events are whole; -1 for not known.
func readSegments(ctx context.Context, dir string, segments []int64, skip []bool, sealed int64, filter *Filter, yield func(Entry, error) bool) {
	m := newMeter(filter, dir, segments, skip)
	defer m.tell()
	for i, first := range segments {
		if !skip[i] && !readSegment(ctx, dir, first, i == len(segments)-1, sealed, filter, m, yield) {
			return
		}
	}
}

// segmentFileNames returns the names of the files in which a log's segments and their leaf hashes are, in order.
func segmentFileNames(dir string) ([]string, error) {
	dir = filepath.Join(dir, segmentsName)
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return nil, errors.New("its " + segmentsName + " is not a directory")
	}
	entries, err := os.ReadDir(dir) // sorted
	var names []string
	for _, e := range entries {
		switch _, ext, _ := strings.Cut(e.Name(), "."); ext {
		case "jsonl", "jsonl.zst", "leaves":
			names = append(names, e.Name())
		}
	}
	return names, err
}

// parseFirst returns the index of a segment's first event, for which it is named.
func parseFirst(base string) (int64, error) {
	first, err := strconv.ParseInt(base, 10, 64)
	if err == nil && (len(base) != 20 || first < 0) {
		err = strconv.ErrSyntax
	}
	return first, err
}

func readSegment(ctx context.Context, dir string, index int64, last bool, sealed int64, filter *Filter, m *meter, yield func(Entry, error) bool) bool {
	f, err := openSegment(vfs.OS{}, dir, index, math.MaxInt64, func(raw io.Reader) io.Reader { return m.reader(ctxReader{ctx, raw}) })
	if err != nil {
		yield(Entry{}, fmt.Errorf("audit: %w", err))
		return false
	}
	defer f.Close()
	name := f.name
	if !last {
		return readAhead(ctx, name, index, f, filter, m, yield)
	}
	for lines := newLineReader(f); ; index++ {
		if err := ctx.Err(); err != nil {
			yield(Entry{}, err)
			return false
		}
		line, err := lines.next()
		m.tell()
		zeroed := bytes.IndexByte(line, 0) >= 0
		if err == io.EOF && !(zeroed && index < sealed) || zeroed && unfilledFrom(line, lines.r, index, sealed) {
			return true
		}
		if err == io.EOF {
			err = &TamperError{segmentsName, index, "it is sealed, and there are zeros instead"}
		}
		var e selected
		if err == nil {
			e = filter.read(line[:len(line)-1])
			err = e.err
		}
		if !e.give(ctx, name, index, err, yield) {
			return false
		}
	}
}

// readAhead reads a segment whose end nobody writes any more, with all processors.
func readAhead(ctx context.Context, name string, index int64, r io.Reader, filter *Filter, m *meter, yield func(Entry, error) bool) bool {
	lines := newAhead(ctx, r, func() func([]byte) selected { return filter.read })
	defer lines.close()
	for ; ; index++ {
		_, e, err := lines.next()
		m.tell()
		if err == io.EOF {
			return true
		}
		if err == nil {
			err = cmp.Or(e.err, ctx.Err())
		}
		if !e.give(ctx, name, index, err, yield) {
			return false
		}
	}
}

// selected is a line as it was read: an entry, unless the filter has no use for it.
type selected struct {
	entry Entry
	use   bool
	err   error
}

// give yields the entry or the error, and tells whether to go on.
func (s *selected) give(ctx context.Context, name string, index int64, err error, yield func(Entry, error) bool) bool {
	switch {
	case err != nil && ctx.Err() != nil:
		yield(Entry{}, ctx.Err())
		return false
	case err != nil:
		var tampered *TamperError
		if errors.As(err, &tampered) {
			tampered.Index = index
		}
		yield(Entry{}, fmt.Errorf("audit: %s, event %d: %w", name, index, err))
		return false
	case !s.use:
		return true
	}
	s.entry.Index = index
	return yield(s.entry, nil)
}

// read decodes a line, unless it sees before that the filter does not select it. It is safe for use by several goroutines.
func (f *Filter) read(line []byte) (s selected) {
	if f.passes(line) {
		return s
	}
	s.entry, s.err = parseEntry(line, 0)
	s.use = s.err == nil && f.match(&s.entry)
	return s
}

// passes tells whether a line is one that the filter does not select, which costs a tenth of decoding it. What has not the form
// of an event it leaves to who decodes.
func (f *Filter) passes(line []byte) bool {
	if f == nil || f.Tenant.IsZero() && f.Code == "" && f.Status == "" && f.Since.IsZero() && f.Until.IsZero() {
		return false
	}
	m, ok := parseMeta(line)
	switch {
	case !ok:
		return false
	case !f.Tenant.IsZero() && string(m.tenant) != f.Tenant.String(),
		f.Code != "" && string(m.code) != string(f.Code) && !(f.kind() && strings.HasPrefix(string(m.code), string(f.Code))):
		return true
	}
	if !f.Since.IsZero() || !f.Until.IsZero() {
		if when, ok := parseTime(line); ok && (!f.Since.IsZero() && when.Before(f.Since) || !f.Until.IsZero() && !when.Before(f.Until)) {
			return true
		}
	}
	// A quotation mark within a string is escaped, so this is a member, and no other object has one of this name.
	return f.Status != "" && !bytes.Contains(line, []byte(`"status_code":"`+string(f.Status)+`"`))
}

// unfilledFrom tells whether a line that holds a NUL was never filled in, as no line is that was synced: no checkpoint seals it. Behind it there may be anything: what is written meanwhile, or what a loss of power left.
// Where it is not known what is sealed, there must be nothing but zeros from the first one on.
func unfilledFrom(line []byte, rest io.Reader, index, sealed int64) bool {
	if sealed >= 0 {
		return index >= sealed
	}
	if len(bytes.Trim(line[bytes.IndexByte(line, 0):], "\x00")) > 0 {
		return false
	}
	for block := make([]byte, 64<<10); ; {
		n, err := rest.Read(block)
		if len(bytes.Trim(block[:n], "\x00")) > 0 || err != nil && err != io.EOF {
			return false
		}
		if err == io.EOF {
			return true
		}
	}
}

// lineDoc is a line as it is decoded.
type lineDoc struct {
	LogName    string `json:"log_name"` // of the log's own events
	Time       int64  `json:"time"`
	Severity   string `json:"severity"`
	StatusCode Status `json:"status_code"`
	Detail     string `json:"status_detail"`
	Actor      struct {
		User struct {
			UID string `json:"uid"`
		} `json:"user"`
	} `json:"actor"`
	Database struct {
		Name string `json:"name"`
	} `json:"database"`
	Databucket struct {
		Name string `json:"name"`
	} `json:"databucket"`
	Unmapped struct {
		Phase         Phase    `json:"phase"`
		Store         string   `json:"store"`
		Purpose       string   `json:"purpose"`
		Request       string   `json:"request"`
		Transaction   string   `json:"transaction"`
		Tables        []string `json:"tables"`
		Columns       []string `json:"columns"`
		SealedColumns []string `json:"sealed_columns"`
		Statement     string   `json:"statement"`
		Fingerprint   string   `json:"fingerprint"`
		KeyVersion    uint32   `json:"key_version"`
		Rows          *int64   `json:"rows"`
		Bytes         *int64   `json:"bytes"`
		Enc           []byte   `json:"enc"`
	} `json:"unmapped"`
	Metadata struct {
		LogName     string `json:"log_name"`
		UID         string `json:"uid"`
		Code        Code   `json:"event_code"`
		Tenant      string `json:"tenant_uid"`
		Correlation string `json:"correlation_uid"`
		Truncated   bool   `json:"is_truncated"`
		Sequence    int64  `json:"sequence"`
		Loggers     []struct {
			UID    string `json:"uid"`
			Number string `json:"event_uid"`
		} `json:"loggers"`
	} `json:"metadata"`
}

func parseEntry(line []byte, index int64) (Entry, error) {
	var d lineDoc
	if err := json.Unmarshal(line, &d); err != nil || d.Metadata.Code == "" {
		return Entry{}, &TamperError{segmentsName, index, "it is not an event as this package writes them"}
	}
	u := &d.Unmapped
	e := Entry{
		Log: cmp.Or(d.Metadata.LogName, d.LogName), Index: index, Time: time.UnixMilli(d.Time).UTC(), Code: d.Metadata.Code, Phase: u.Phase, Status: d.StatusCode,
		Severity: d.Severity, Tenant: d.Metadata.Tenant, Sequence: d.Metadata.Sequence, Actor: d.Actor.User.UID,
		Purpose: u.Purpose, Request: u.Request, Transaction: u.Transaction, Store: u.Store, Name: d.Database.Name + d.Databucket.Name,
		Tables: u.Tables, Columns: u.Columns, SealedColumns: u.SealedColumns, Statement: u.Statement,
		Fingerprint: u.Fingerprint, KeyVersion: u.KeyVersion, Rows: -1, Bytes: -1, Reason: d.Detail,
		UID: d.Metadata.UID, Correlation: d.Metadata.Correlation, Sealed: u.Enc, Truncated: d.Metadata.Truncated,
		Raw: bytes.Clone(line),
	}
	if l := d.Metadata.Loggers; len(l) == 1 {
		e.Stream = l[0].UID
		e.Number, _ = positive([]byte(l[0].Number))
	}
	if u.Rows != nil {
		e.Rows = *u.Rows
	}
	if u.Bytes != nil {
		e.Bytes = *u.Bytes
	}
	return e, nil
}
