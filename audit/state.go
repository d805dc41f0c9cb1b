package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
	"github.com/strongroom-go/strongroom/tenant"
)

// The file state has what an opening needs to know of the events under a checkpoint, so that it reads those behind it
// alone: the frontiers of the log's tree and of each tenant's. It is written now and then, and when the log is closed. The
// log's key signs it, so it is as good as having read the events once more; what was done to them since, [Verify] finds.
// Without the file, or with one that is not as it was written or does not fit the log, an opening reads everything.
//
// It is a C2SP signed note, a blank line, the checkpoint, a blank line, a line of JSON, and a line for each tenant: the
// size of its tree, how much of it head leaves cover, the tree's frontier in base64, and the id (none for the log itself).
// The note's text is three lines, of which the third has the length and the SHA-256 of what follows the blank line:
//
//	strongroom/audit-state/v1
//	<origin>
//	<length> <hash, base64>
//
// Its second line is no number, so that no checkpoint reads like it.
const (
	stateName = "state"
	stateText = "strongroom/audit-state/v1"
	// stateEvents is how many events are recorded before the state is written anew, and closingEvents how many behind the
	// last one are worth another when the log is closed. With many tenants it is four events for each: writing the state
	// costs some 300 bytes to 1 KiB a tenant.
	stateEvents   = 100_000
	closingEvents = 1_000
	maxStateNote  = 8 << 10
)

// state is what stands in the file beside the tenants.
type state struct {
	checkpoint checkpoint
	tree       frontier
	tenants    map[string]*tenantState
	stateHead
}

type stateHead struct {
	Tree        []byte               `json:"tree"`              // the frontier of the log's tree
	Segments    []int64              `json:"segments"`          // the first index of each
	Lines       int64                `json:"lines"`             // bytes of the last one under the checkpoint
	Checkpoints int64                `json:"checkpoints"`       // bytes of all checkpoints, this one and those that were deleted included
	Closed      bool                 `json:"closed"`            // the log was closed there
	Chain       string               `json:"chain"`             // the nonce of the session's chain; "" for none
	Position    int64                `json:"position"`          // of the next batch in it
	Streams     map[string]streamEnd `json:"streams,omitempty"` // how far they are taken in
	Summary     *packedSummary       `json:"summary,omitempty"` // of the last segment's events under the checkpoint
}

// pack returns a frontier's nodes as bytes.
func (f *frontier) pack() []byte {
	b := make([]byte, 0, len(f.nodes)*tlog.HashSize)
	for i := range f.nodes {
		b = append(b, f.nodes[i][:]...)
	}
	return b
}

// unpack makes the frontier of a tree of that size, which has a node for each one bit of the size.
func unpack(size int64, b []byte) (f frontier, ok bool) {
	if size < 0 || len(b) != bits.OnesCount64(uint64(size))*tlog.HashSize {
		return f, false
	}
	f.size, f.nodes = size, make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range f.nodes {
		copy(f.nodes[i][:], b[i*tlog.HashSize:])
	}
	return f, true
}

// encodeHead returns the body up to the tenants.
func (s *state) encodeHead() ([]byte, error) {
	s.Tree = s.tree.pack()
	head, err := json.Marshal(s.stateHead)
	return append(slices.Concat(s.checkpoint.note, []byte("\n"), head), '\n'), err
}

// appendTo appends a tenant's line.
func (t *tenantEnd) appendTo(body []byte) []byte {
	body = strconv.AppendInt(body, t.tree.size, 10)
	body = strconv.AppendInt(append(body, ' '), t.covered, 10)
	body = append(body, ' ')
	if len(t.tree.nodes) > 0 {
		body = base64.StdEncoding.AppendEncode(body, t.tree.pack())
	}
	return append(append(append(body, ' '), t.id.String()...), '\n')
}

// signBody returns a file that has a body behind a note that signs it.
func signBody(signer note.Signer, title string, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	front, err := signSum(signer, title, int64(len(body)), sum[:])
	return append(front, body...), err
}

// signSum returns what such a file begins with, for a body of this length and SHA-256.
func signSum(signer note.Signer, title string, length int64, sum []byte) ([]byte, error) {
	msg, err := signNote(signer, bodyNote(title, signer.Name(), length, sum))
	return append(msg, '\n'), err
}

func bodyNote(title, origin string, length int64, sum []byte) string {
	return bodyTitle(title, origin, length) + base64.StdEncoding.EncodeToString(sum) + "\n"
}

// bodyTitle is what such a note begins with.
func bodyTitle(title, origin string, length int64) string {
	return fmt.Sprintf("%s\n%s\n%d ", title, origin, length)
}

var errSigned = errors.New("it is not a file that this log's key signed")

// readState reads the state. The error wraps [fs.ErrNotExist] where there is none.
func readState(fsys vfs.FS, dir, origin string, verifiers note.Verifiers) (s *state, err error) {
	_, err = readSigned(fsys, filepath.Join(dir, stateName), stateText, origin, verifiers, func(r io.Reader) bool {
		s = parseState(r, origin)
		return s != nil
	})
	return s, err
}

// readSigned reads a file that has a body behind a note that signs it, and returns the body's SHA-256. What the file has that
// it should not is an error that wraps errSigned.
func readSigned(fsys vfs.FS, name, title, origin string, verifiers note.Verifiers, parse func(io.Reader) bool) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	msg, err := frontNote(f, info.Size())
	if err != nil {
		return nil, err
	}
	at := int64(len(msg)) + 1
	n, err := note.Open(msg, verifiers)
	if err != nil {
		return nil, errors.Join(errSigned, err)
	}
	// Nobody without the log's key decides how much is hashed either.
	if !strings.HasPrefix(n.Text, bodyTitle(title, origin, info.Size()-at)) {
		return nil, errSigned
	}
	// Hashed before anything is made of it: nobody without the log's key decides how much memory it takes.
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, at, info.Size()-at)); err != nil {
		return nil, err
	}
	if n.Text != bodyNote(title, origin, info.Size()-at, sum.Sum(nil)) {
		return nil, errSigned
	}
	again := sha256.New()
	source := &sourceReader{r: io.NewSectionReader(f, at, info.Size()-at)}
	parsed := parse(io.TeeReader(source, again))
	switch {
	case source.err != nil:
		return nil, source.err
	case !parsed || !equalSum(sum, again):
		return nil, errSigned
	}
	return sum.Sum(nil), nil
}

// frontNote returns the note that a file of a size begins with. It states the length and the hash of what is behind it.
func frontNote(f io.ReaderAt, size int64) ([]byte, error) {
	front := make([]byte, min(maxStateNote, size))
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(front))), front); err != nil {
		return nil, err
	}
	text := bytes.Index(front, []byte("\n\n")) // between the note's text and its signatures
	if text < 0 {
		return nil, errSigned
	}
	end := bytes.Index(front[text+2:], []byte("\n\n"))
	if end < 0 {
		return nil, errSigned
	}
	return front[:text+2+end+1], nil
}

func equalSum(a, b hash.Hash) bool { return bytes.Equal(a.Sum(nil), b.Sum(nil)) }

// parseState returns nil for what is no state.
func parseState(r io.Reader, origin string) *state {
	lines := bufio.NewReaderSize(r, 64<<10)
	s := &state{tenants: map[string]*tenantState{}}
	var msg []byte
	for range checkpointLines + 1 {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return nil
		}
		msg = append(msg, line...)
	}
	var err error
	if s.checkpoint, err = parseCheckpoint(msg[:len(msg)-1], origin); err != nil || msg[len(msg)-1] != '\n' {
		return nil
	}
	head, err := lines.ReadBytes('\n')
	if err != nil || json.Unmarshal(head, &s.stateHead) != nil {
		return nil
	}
	var ok bool
	if s.tree, ok = unpack(s.checkpoint.tree.N, s.Tree); !ok || s.tree.root() != s.checkpoint.tree.Hash || len(s.Segments) == 0 {
		return nil
	}
	if !readTenants(lines, s.tenants) {
		return nil
	}
	return s
}

// readTenants reads the tenants' lines to the end.
func readTenants(lines *bufio.Reader, into map[string]*tenantState) bool {
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return true
		}
		if err != nil || !readTenant(strings.TrimSuffix(line, "\n"), into) {
			return false
		}
	}
}

// readTenant takes in one tenant's line.
func readTenant(line string, into map[string]*tenantState) bool {
	parts := strings.Split(line, " ")
	if len(parts) != 4 {
		return false
	}
	size, err1 := strconv.ParseInt(parts[0], 10, 64)
	covered, err2 := strconv.ParseInt(parts[1], 10, 64)
	nodes, err3 := base64.StdEncoding.Strict().DecodeString(parts[2])
	if errors.Join(err1, err2, err3) != nil || covered < 0 || covered > size {
		return false
	}
	t := &tenantState{covered: covered}
	var ok bool
	if t.tree, ok = unpack(size, nodes); !ok {
		return false
	}
	if id := parts[3]; id != "" {
		var err error
		if t.id, err = tenant.Parse(id); err != nil {
			return false
		}
	}
	if into[parts[3]] != nil {
		return false
	}
	into[parts[3]] = t
	return true
}

// fits tells whether the log is one that goes on from the state: its checkpoint stands where it says, and the segments
// before are there, but for those that were deleted since. The file lacks so many bytes of checkpoints; that s counts them, too, ends here.
func (s *state) fits(checkpoints io.ReaderAt, lacks int64, segments []int64, p *pruned) bool {
	s.Segments = slices.DeleteFunc(s.Segments, func(first int64) bool { return first < p.first() })
	if len(s.Segments) == 0 {
		return false
	}
	s.Checkpoints -= lacks
	n := len(s.checkpoint.note) + 1
	stands := make([]byte, n)
	if s.Checkpoints < int64(n) {
		return false
	}
	if _, err := checkpoints.ReadAt(stands, s.Checkpoints-int64(n)); err != nil {
		return false
	}
	return bytes.Equal(stands[:n-1], s.checkpoint.note) && stands[n-1] == '\n' &&
		len(segments) >= len(s.Segments) && slices.Equal(segments[:len(s.Segments)], s.Segments)
}
