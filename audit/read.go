package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// Entry is an event as it stands in a log.
type Entry struct {
	Index         int64 // in the log, from 0
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
	Sealed        []byte // what the tenant's Sealer made of actor and details; nil for none
	Truncated     bool   // something was too long, or had no Sealer, and is left out
	Raw           []byte // the line's exact bytes, without the newline: the leaf of the tree
}

// Filter selects entries; the zero value of each field selects all.
type Filter struct {
	Tenant tenant.ID
	Code   Code // one code, or all of a kind with a trailing dot: "sql."
	Status Status
	// Since and Until bound the time: from Since, and before Until.
	Since, Until time.Time
}

func (f *Filter) match(e *Entry) bool {
	switch {
	case f == nil:
		return true
	case !f.Tenant.IsZero() && e.Tenant != f.Tenant.String(),
		f.Code != "" && e.Code != f.Code && !(strings.HasSuffix(string(f.Code), ".") && strings.HasPrefix(string(e.Code), string(f.Code))),
		f.Status != "" && e.Status != f.Status,
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && !e.Time.Before(f.Until):
		return false
	}
	return true
}

// Read returns the entries of the log in dir that filter selects (nil for all), oldest first. It needs no lock, and
// checks nothing but the form: run [Verify] first. After an error the sequence ends. An unfinished line at the end of
// the log is passed over.
func Read(ctx context.Context, dir string, filter *Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		names, err := segmentNames(dir)
		if err != nil {
			yield(Entry{}, fmt.Errorf("audit: %s is not the directory of a log: %w", dir, err))
			return
		}
		for i, name := range names {
			if !readSegment(ctx, name, i == len(names)-1, filter, yield) {
				return
			}
		}
	}
}

// segmentNames returns the paths of a log's segments in order.
func segmentNames(dir string) ([]string, error) {
	dir = filepath.Join(dir, segmentsName)
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return nil, errors.New("its " + segmentsName + " is not a directory")
	}
	entries, err := os.ReadDir(dir) // sorted
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jsonl") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if err == nil && len(names) == 0 {
		err = errors.New("it has no segments")
	}
	return names, err
}

func readSegment(ctx context.Context, name string, last bool, filter *Filter, yield func(Entry, error) bool) bool {
	f, err := vfs.OS{}.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		yield(Entry{}, fmt.Errorf("audit: %w", err))
		return false
	}
	defer f.Close()
	index, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".jsonl"), 10, 64)
	if err != nil {
		yield(Entry{}, fmt.Errorf("audit: %s is not named for its first event", name))
		return false
	}
	for lines := newLineReader(ctxReader{ctx, f}); ; index++ {
		if err := ctx.Err(); err != nil {
			yield(Entry{}, err)
			return false
		}
		line, err := lines.next()
		if err == io.EOF || last && unfilledTo(line, lines.r) {
			return true
		}
		var e Entry
		if err == nil {
			e, err = parseEntry(line[:len(line)-1], index)
		}
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("audit: %s, event %d: %w", name, index, err))
			return false
		}
		if filter.match(&e) && !yield(e, nil) {
			return false
		}
	}
}

// unfilledTo tells whether the line was never filled in: from its first NUL to the end of the file there is nothing else.
func unfilledTo(line []byte, rest io.Reader) bool {
	zero := bytes.IndexByte(line, 0)
	if zero < 0 || len(bytes.Trim(line[zero:], "\x00")) > 0 {
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
		UID         string `json:"uid"`
		Code        Code   `json:"event_code"`
		Tenant      string `json:"tenant_uid"`
		Correlation string `json:"correlation_uid"`
		Truncated   bool   `json:"is_truncated"`
		Sequence    int64  `json:"sequence"`
	} `json:"metadata"`
}

func parseEntry(line []byte, index int64) (Entry, error) {
	var d lineDoc
	if err := json.Unmarshal(line, &d); err != nil || d.Metadata.Code == "" {
		return Entry{}, &TamperError{segmentsName, index, "it is not an event as this package writes them"}
	}
	u := &d.Unmapped
	e := Entry{
		Index: index, Time: time.UnixMilli(d.Time).UTC(), Code: d.Metadata.Code, Phase: u.Phase, Status: d.StatusCode,
		Severity: d.Severity, Tenant: d.Metadata.Tenant, Sequence: d.Metadata.Sequence, Actor: d.Actor.User.UID,
		Purpose: u.Purpose, Request: u.Request, Transaction: u.Transaction, Store: u.Store, Name: d.Database.Name + d.Databucket.Name,
		Tables: u.Tables, Columns: u.Columns, SealedColumns: u.SealedColumns, Statement: u.Statement,
		Fingerprint: u.Fingerprint, KeyVersion: u.KeyVersion, Rows: -1, Bytes: -1, Reason: d.Detail,
		UID: d.Metadata.UID, Correlation: d.Metadata.Correlation, Sealed: u.Enc, Truncated: d.Metadata.Truncated,
		Raw: bytes.Clone(line),
	}
	if u.Rows != nil {
		e.Rows = *u.Rows
	}
	if u.Bytes != nil {
		e.Bytes = *u.Bytes
	}
	return e, nil
}
