package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// A segment's summary is in a file of its own, signed by the log's key, as its state is, with a title of its own. The writer makes
// it of the lines as it writes them, and an opening of those that it checks: of nothing that was read without being checked, or who
// changes a segment for a moment would have a summary signed that hides events for ever. It is signed when a checkpoint seals
// events behind the segment, to which then nothing can be added and from which nothing can be cut.
//
// Nothing but speed depends on it. Whoever can write the log's files can take it away; one that is not signed, is of another
// segment, or of other events than its name, the next segment's and the log's checkpoint say, is as good as none. That one says what the
// events are, [Verify] checks.
const (
	summaryText = "strongroom/audit-summary/v2"
	// summaryText1 is of those that earlier releases wrote, without nodes. They are as good as none.
	summaryText1 = "strongroom/audit-summary/v1"
)

// missed takes in the summary of a segment that an opening has read: that the log was killed before it was written, or by an earlier
// release, or that the state was lost. Where all of a long log is read, those that are not there are signed, and of these the newest.
func (w *writer) missed(own note.Verifiers) func(int64, *packedSummary) error {
	fsys, dir := w.log.opts.fs, w.log.dir
	return func(first int64, p *packedSummary) error {
		if p == nil {
			return nil
		}
		if is, err := readSummary(fsys, dir, w.signer.Name(), own, first, p.end()); err == nil && is.same(p) {
			return nil
		}
		w.summarized.add(p)
		return nil
	}
}

// saveSummaries writes those of the segments behind which events are sealed, some at a time, and tells whether there are more. It signs
// on the writer's goroutine, for about so long, and writes beside it. One that cannot be written is no failure of the log: readers read
// more.
func (w *writer) saveSummaries(long time.Duration) (more bool) {
	if !w.summarized.due(w.last.tree.N) {
		return false
	}
	if !w.summarizing.CompareAndSwap(false, true) {
		return true // the disk is slower than the signer
	}
	l := w.log
	files := w.summarized.sign(w.signer, w.last.tree.N, long)
	w.beside(func() {
		defer w.summarizing.Store(false)
		writeSummaries(l.opts.fs, l.dir, files, func(f summaryFile, _ error) { l.stuck.put(f) })
	})
	return w.summarized.due(w.last.tree.N)
}

// summaryFile is a summary as it is written.
type summaryFile struct {
	first   int64
	content []byte
}

// sign returns the summary's file.
func (p *packedSummary) sign(signer note.Signer) (summaryFile, error) {
	body, err := p.body()
	if err != nil {
		return summaryFile{}, err
	}
	content, err := signBody(signer, summaryText, body)
	return summaryFile{p.First, content}, err
}

// writeSummaries writes the files that are not there as they are to be. Of one that it cannot write it tells stuck, and goes on.
func writeSummaries(fsys vfs.FS, dir string, files []summaryFile, stuck func(summaryFile, error)) {
	files = slices.DeleteFunc(files, func(f summaryFile) bool {
		is, err := readWhole(fsys, summaryPath(dir, f.first), int64(len(f.content)))
		return err == nil && bytes.Equal(is, f.content)
	})
	if len(files) == 0 {
		return
	}
	all := filepath.Join(dir, summariesName)
	err := fsys.Mkdir(all, 0o700)
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	var written []summaryFile
	for _, f := range files {
		because := err
		if because == nil {
			because = writeAtomic(fsys, summaryPath(dir, f.first), f.content)
		}
		if because == nil {
			written = append(written, f)
		} else {
			stuck(f, because)
		}
	}
	if len(written) == 0 {
		return
	}
	if err := fsys.SyncDir(all); err != nil {
		for _, f := range written {
			stuck(f, err)
		}
	}
}

var errTooLong = errors.New("the file is too long")

// readWhole reads a file of at most so many bytes.
func readWhole(fsys vfs.FS, name string, most int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = errTooLong
	}
	return data, errors.Join(err, f.Close())
}

// readSummary returns the summary of the segment with the events from first to before end. An error is that there is none to go by.
func readSummary(fsys vfs.FS, dir, origin string, verifiers note.Verifiers, first, end int64) (*packedSummary, error) {
	var p packedSummary
	_, err := readSigned(fsys, summaryPath(dir, first), summaryText, origin, verifiers, func(r io.Reader) bool {
		line, err := bufio.NewReaderSize(r, 64<<10).ReadBytes('\n')
		return err == nil && json.Unmarshal(line, &p) == nil && p.plausible(first, end)
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// summaryCheck compares the summaries that are there with those that are to be.
type summaryCheck struct {
	fs       vfs.FS
	dir      string
	there    int
	wrong    error                    // about the first that says other things than the events do
	segments map[int64]*packedSummary // as they are to be
}

// whole takes in what the summary of a segment is to be, which is nil where there can be none.
func (c *summaryCheck) whole(first int64, p *packedSummary) error {
	there, right, err := compareSummary(c.fs, c.dir, first, p)
	if err != nil {
		return fmt.Errorf("audit: reading the summary of a segment: %w", err)
	}
	switch {
	case there && right:
		c.there++
	case there && c.wrong == nil:
		c.wrong = &TamperError{summariesName, first, "the summary of the segment that begins with it says other things than the events do, and may have hidden " +
			"events from those who read by it; keep it as evidence and remove it: nothing else is wrong, and the log makes another"}
	}
	if c.segments[first] = p; p != nil && len(p.Tenants) > maxKept {
		p.Tenants = nil // any may be there
	}
	return nil
}

// maxKept bounds what a report has of a segment's tenants, in bytes.
const maxKept = 4 << 10

// compareSummary tells whether there is a summary of a segment that readers may go by, whoever signed it, and whether it is the right
// one. One of an earlier release is not there if it is right.
func compareSummary(fsys vfs.FS, dir string, first int64, right *packedSummary) (there, is bool, err error) {
	var body []byte
	if right != nil {
		if body, err = right.body(); err != nil {
			return false, false, err
		}
	}
	file, err := readWhole(fsys, summaryPath(dir, first), int64(len(body))+maxStateNote)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, vfs.ErrNotRegular):
		return false, false, nil
	case errors.Is(err, errTooLong):
		return true, false, nil
	case err != nil:
		return false, false, err
	}
	title, _, _ := strings.Cut(string(file[:min(len(file), 64)]), "\n")
	switch title {
	case summaryText:
	case summaryText1: // earlier releases go by it
		if right != nil {
			earlier := *right
			earlier.Nodes = nil
			if body, err = earlier.body(); err != nil {
				return false, false, err
			}
		}
	default:
		return false, false, nil // nobody who knows this form goes by it
	}
	_, rest, _ := bytes.Cut(file, []byte("\n\n"))
	_, rest, ok := bytes.Cut(rest, []byte("\n\n"))
	is = ok && right != nil && bytes.Equal(rest, body)
	return !is || title == summaryText, is, nil
}
