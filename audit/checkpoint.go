package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A checkpoint is a C2SP signed note (c2sp.org/signed-note) with a tlog checkpoint (c2sp.org/tlog-checkpoint) as its
// text: origin, size and root, and one extension line that chains the checkpoints of a log, so that none can be taken
// out from between others:
//
//	strongroom <number, from 1> <SHA-256 of the note before, or of nothing, base64>
//
// A blank line ends each note in the file.
type checkpoint struct {
	tree   tlog.Tree
	number int64
	before [sha256.Size]byte
	note   []byte // without the blank line
}

const (
	checkpointLines = 6 // of a note; the file has a blank line more
	extension       = "strongroom"
	signaturePrefix = "\u2014 " // an em dash and a space
)

// signCheckpoint returns the checkpoint that follows number and the note with the given hash.
func signCheckpoint(signer note.Signer, tree tlog.Tree, number int64, before [sha256.Size]byte) (checkpoint, error) {
	c := checkpoint{tree: tree, number: number, before: before}
	msg, err := signNote(signer, c.text(signer.Name()))
	c.note = msg
	return c, err
}

// hashNote returns the hash by which the next checkpoint refers to a note.
func hashNote(msg []byte) [sha256.Size]byte { return sha256.Sum256(msg) }

func (c *checkpoint) text(origin string) string {
	return fmt.Sprintf("%s\n%d\n%s\n%s %d %s\n", origin, c.tree.N, c.tree.Hash, extension, c.number, base64.StdEncoding.EncodeToString(c.before[:]))
}

// parseCheckpoint reads one note. It accepts exactly the bytes that signCheckpoint writes: a signature or number in
// another spelling is refused, although it would mean the same.
func parseCheckpoint(msg []byte, origin string) (checkpoint, error) {
	malformed := errors.New("it is not a checkpoint of this log")
	c := checkpoint{note: bytes.Clone(msg)}
	lines := strings.Split(string(msg), "\n")
	if len(lines) != checkpointLines+1 || lines[0] != origin || lines[4] != "" || lines[6] != "" {
		return c, malformed
	}
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	ext := strings.Split(lines[3], " ")
	if err1 != nil || err2 != nil || len(ext) != 3 || ext[0] != extension {
		return c, malformed
	}
	number, err1 := strconv.ParseInt(ext[1], 10, 64)
	before, err2 := tlog.ParseHash(ext[2])
	c.tree, c.number, c.before = tlog.Tree{N: size, Hash: root}, number, before
	if err1 != nil || err2 != nil || size < 1 || number < 1 || c.text(origin) != strings.Join(lines[:4], "\n")+"\n" {
		return c, malformed
	}
	name, sig, ok := strings.Cut(strings.TrimPrefix(lines[5], signaturePrefix), " ")
	if !ok || name != origin || !strings.HasPrefix(lines[5], signaturePrefix) || !isBase64(sig) {
		return c, malformed
	}
	return c, nil
}

// checkpointReader reads the notes of a checkpoints file in order and checks their chain.
type checkpointReader struct {
	r       *bufio.Reader
	origin  string
	last    checkpoint // zero before the first
	first   int64      // the number of the first; 0 before it, and where reading did not begin there
	dropped dropped    // what is known of those that were deleted before it
	end     int64      // where the last whole note ends
	torn    int64      // bytes of an unfinished note behind it
}

func newCheckpointReader(r io.Reader, origin string) *checkpointReader {
	return &checkpointReader{r: bufio.NewReaderSize(r, 64<<10), origin: origin}
}

// next returns io.EOF behind the last whole note. Any error but io.EOF and one of reading is about a note that was
// tampered with.
func (r *checkpointReader) next() (checkpoint, error) {
	var msg []byte
	for range checkpointLines + 1 {
		line, err := r.r.ReadSlice('\n')
		msg = append(msg, line...)
		if err == io.EOF || bytes.IndexByte(line, 0) >= 0 && (err == nil || errors.Is(err, bufio.ErrBufferFull)) {
			return checkpoint{}, r.tail(msg)
		}
		if errors.Is(err, bufio.ErrBufferFull) || len(msg) > 8<<10 {
			return checkpoint{}, &noteError{r.last.number + 1, "it has no end"}
		}
		if err != nil {
			return checkpoint{}, err
		}
	}
	if !bytes.HasSuffix(msg, []byte("\n\n")) {
		return checkpoint{}, &noteError{r.last.number + 1, "no blank line follows it"}
	}
	c, err := parseCheckpoint(msg[:len(msg)-1], r.origin)
	if err != nil {
		return c, &noteError{r.last.number + 1, err.Error()}
	}
	if err := r.continues(&c); err != nil {
		return c, err
	}
	r.last, r.end = c, r.end+int64(len(msg))
	return c, nil
}

// tail looks at what stands behind the last whole note, of which msg has been read: io.EOF where a write that was cut
// short may have left it.
func (r *checkpointReader) tail(msg []byte) error {
	const most = 1 << 20
	rest, err := io.ReadAll(io.LimitReader(r.r, most))
	msg = append(msg, rest...)
	r.torn = int64(len(msg))
	torn := beginsCheckpoint(msg, r.origin)
	if zero := bytes.IndexByte(msg, 0); zero >= 0 {
		torn = beginsCheckpoint(msg[:zero], r.origin) && r.unfilled(msg)
	}
	for block := []byte(nil); err == nil && len(rest) == most; { // behind those only zeros may be left
		if block == nil {
			block = make([]byte, 64<<10)
		}
		var n int
		n, err = r.r.Read(block)
		r.torn += int64(n)
		torn = torn && len(bytes.Trim(block[:n], "\x00")) == 0
	}
	if err != nil && err != io.EOF {
		return err
	}
	if !torn {
		return &noteError{r.last.number + 1, "the file ends with something that is no beginning of a checkpoint"}
	}
	return io.EOF
}

// unfilled tells whether the zeros in b may stand where the file was extended and a loss of power kept its content from
// the disk: to the end of the file, or in whole sectors. A note that lacks nothing but its last byte is no such thing,
// unless that byte has a sector to itself: it was changed.
func (r *checkpointReader) unfilled(b []byte) bool {
	const sector = 512
	aligned := func(at int) bool { return (r.end+int64(at))%sector == 0 }
	for at := 0; at < len(b); {
		if b[at] != 0 {
			at++
			continue
		}
		from := at
		for at < len(b) && b[at] == 0 {
			at++
		}
		whole := from == len(b)-1 && bytes.Count(b, []byte("\n")) == checkpointLines
		if toEnd := at == len(b); whole && !aligned(from) || !toEnd && (from > 0 && !aligned(from) || !aligned(at)) {
			return false
		}
	}
	return true
}

// noteError is about a checkpoint that was tampered with.
type noteError struct {
	number int64
	what   string
}

func (e *noteError) Error() string { return fmt.Sprintf("checkpoint %d: %s", e.number, e.what) }

// beginsCheckpoint tells whether b is what a write cut short could have left of a note and its blank line: whole lines
// as they should be, and the beginning of one.
func beginsCheckpoint(b []byte, origin string) bool {
	const digits, base64Digits = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	shape := [checkpointLines + 1]struct {
		prefix, rest string
		whole        func(string) bool
	}{
		{prefix: origin},
		{rest: digits, whole: func(s string) bool { return s != "" }},
		{rest: base64Digits, whole: isHash},
		{prefix: extension + " ", rest: digits + " " + base64Digits, whole: func(s string) bool {
			number, hash, _ := strings.Cut(s, " ")
			return number != "" && isHash(hash)
		}},
		{},
		{prefix: signaturePrefix + origin + " ", rest: base64Digits, whole: isBase64},
		{},
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) > len(shape) {
		return false
	}
	for i, line := range lines {
		s := shape[i]
		if last := i == len(lines)-1; last && len(line) <= len(s.prefix) {
			return strings.HasPrefix(s.prefix, line)
		} else if rest, ok := strings.CutPrefix(line, s.prefix); !ok || strings.Trim(rest, s.rest) != "" ||
			!last && s.whole != nil && !s.whole(rest) {
			return false
		}
	}
	return true
}

func isHash(s string) bool {
	h, err := tlog.ParseHash(s)
	return err == nil && h.String() == s
}

// isBase64 tells whether s is the one base64 spelling of some bytes.
func isBase64(s string) bool {
	raw, err := base64.StdEncoding.DecodeString(s)
	return err == nil && base64.StdEncoding.EncodeToString(raw) == s
}
