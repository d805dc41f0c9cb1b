package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestReadAll merges three logs, one of which has a clock that goes back.
func TestReadAll(t *testing.T) {
	parent := t.TempDir()
	var dirs []string
	start := time.UnixMilli(1_780_000_000_000).UTC()
	for i, minutes := range [][]int{{0, 3, 6, 9}, {1, 8, 2, 7}, {4, 5}} {
		dir := filepath.Join(parent, fmt.Sprint(i))
		opts := quiet()
		opts.Origin = fmt.Sprintf("audit.example.com/%d", i)
		l := mustOpen(t, dir, opts)
		for _, m := range minutes {
			e := query(acme, fmt.Sprint(m))
			e.Time = start.Add(time.Duration(m) * time.Minute)
			mustRecord(t, l, e)
		}
		mustClose(t, l)
		dirs = append(dirs, dir)
	}
	read := func(dirs []string, f *Filter) (got []string, err error) {
		for e, err := range ReadAll(t.Context(), dirs, f) {
			if err != nil {
				return got, err
			}
			if len(e.Log) != len("audit.example.com/0") {
				t.Errorf("the log of %s is %q", e.Request, e.Log)
			}
			got = append(got, e.Request)
		}
		return got, nil
	}
	queries := &Filter{Code: CodeQuery}
	if got, err := read(dirs, queries); err != nil || !slices.Equal(got, []string{"0", "1", "3", "4", "5", "6", "8", "2", "7", "9"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := read(dirs, nil); err != nil || len(got) < 16 {
		t.Errorf("all of them: %q, %v", got, err)
	}
	if got, err := read(dirs[2:], queries); err != nil || !slices.Equal(got, []string{"4", "5"}) {
		t.Errorf("one: %q, %v", got, err)
	}
	for range ReadAll(t.Context(), dirs, queries) {
		break // which must leave nothing running
	}
	if _, err := read([]string{dirs[0], copyDir(t, dirs[0])}, queries); err == nil {
		t.Error("one log twice")
	}
	if _, err := read([]string{dirs[0], parent}, queries); err == nil {
		t.Error("a directory that is no log")
	}
	seg := filepath.Join(dirs[1], segmentsName, fmt.Sprintf("%020d.jsonl", 0))
	data := readFile(t, seg)
	writeFile(t, seg, append(data[:len(data)/2:len(data)/2], "garbage\n"...))
	if got, err := read(dirs, queries); !errors.Is(err, ErrTampered) || len(got) == 0 {
		t.Errorf("one that is damaged: %q, %v", got, err)
	}
}

// TestReadAllOfSealedLogs: events that a stream brought name their trail, which may be sealed into several logs.
func TestReadAllOfSealedLogs(t *testing.T) {
	signer := trailSigner(t)
	var dirs []string
	for i := range 2 {
		dir := filepath.Join(t.TempDir(), "log")
		opts := quiet()
		opts.Origin = fmt.Sprintf("audit.example.com/%d", i)
		l := mustOpen(t, dir, opts)
		mustAdopt(t, l, signer, streamRows(t, signer, query(acme, fmt.Sprint(i))))
		mustClose(t, l)
		dirs = append(dirs, dir)
	}
	var got []string
	for e, err := range ReadAll(t.Context(), dirs, &Filter{Tenant: acme, Code: CodeQuery}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Request)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("%q", got)
	}
	for _, err := range ReadAll(t.Context(), []string{dirs[0], copyDir(t, dirs[0])}, nil) {
		if err == nil {
			t.Error("one log twice")
		}
		break
	}
}

// TestFilterThatNothingMatches is refused: an empty answer would be taken for one.
func TestFilterThatNothingMatches(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	mustClose(t, mustOpen(t, dir, quiet()))
	now := time.Now()
	for _, f := range []Filter{
		{Code: "sql.qery"}, {Code: "sql"}, {Code: "."}, {Code: "sql.query."}, {Code: "SQL.query"}, {Status: "ok"},
		{Since: now, Until: now}, {Since: now, Until: now.Add(-time.Second)},
	} {
		for _, err := range Read(t.Context(), dir, &f) {
			if err == nil {
				t.Errorf("%+v selects something", f)
			}
			f.Code = "refused"
		}
		if f.Code != "refused" {
			t.Errorf("%+v is answered with nothing", f)
		}
	}
	for _, f := range []Filter{{Code: "sql."}, {Code: "key.shred"}, {Status: Denied}, {Since: now.Add(-time.Hour), Until: now}} {
		for _, err := range Read(t.Context(), dir, &f) {
			if err != nil {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
}
