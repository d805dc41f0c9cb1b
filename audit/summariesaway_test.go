package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestSummariesInTheWayOfRetention: events are deleted as retention says whatever is where their summaries should be, which is told when
// it was done.
func TestSummariesInTheWayOfRetention(t *testing.T) {
	for name, spoil := range map[string]func(all string) error{
		"a file for the directory": func(all string) error { return errors.Join(os.RemoveAll(all), os.WriteFile(all, nil, 0o600)) },
		"a summary that is a directory": func(all string) error {
			first := filepath.Join(all, filepath.Base(summaryPath("", 0)))
			return errors.Join(os.Remove(first), os.MkdirAll(filepath.Join(first, "x"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, opts := phased(t)
			l := mustOpen(t, dir, opts)
			if err := spoil(filepath.Join(dir, summariesName)); err != nil {
				t.Fatal(err)
			}
			done, err := l.Retain(background, &Retention{Bytes: 19 << 10})
			if done == nil || done.Deleted == 0 {
				t.Fatalf("nothing is deleted: %+v, %v", done, err)
			}
			if err == nil {
				t.Error("nobody is told what is in the way")
			}
			if left, err := filepath.Glob(filepath.Join(dir, summariesName, "*")); err != nil || len(left) > 0 && left[0] < summaryPath(dir, done.First) && left[0] != summaryPath(dir, 0) ||
				len(left) > 1 && left[1] < summaryPath(dir, done.First) {
				t.Errorf("summaries of segments that are deleted: %v, %v", left, err)
			}
			mustClose(t, l)
			segments, err := listSegments(dir)
			if r := mustVerify(t, dir); err != nil || r.Deleted != done.Deleted || segments[0] != done.First {
				t.Errorf("%d of %d are deleted, and segments begin with %v, %v", r.Deleted, done.Deleted, segments[0], err)
			}
		})
	}
}
