package main

import (
	"fmt"
	"io"
	"os"
)

// lines writes lines, one a call. One that was not written whole, as on a full disk, stays alone: what comes next begins a line of
// its own, or nobody could read either, and the cursor is past it.
type lines struct {
	out  io.Writer
	torn bool // something stands behind the last newline
}

// newLines goes on in a file where another process left a line that is not whole, because it was killed or the power was lost.
func newLines(out io.Writer) *lines {
	l := &lines{out: out}
	f, ok := out.(*os.File)
	if !ok {
		return l
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return l
	}
	// A shell opens what output is appended to for writing alone, and what it is to replace it empties.
	again, err := os.Open(fmt.Sprintf("/dev/fd/%d", f.Fd()))
	if err != nil {
		l.torn = true // nobody can tell; an empty line does no harm
		return l
	}
	defer again.Close()
	last := make([]byte, 1)
	_, err = again.ReadAt(last, info.Size()-1)
	l.torn = err != nil || last[0] != '\n'
	return l
}

// Write writes a line with its newline.
func (l *lines) Write(line []byte) (int, error) {
	if l.torn {
		if _, err := l.out.Write([]byte("\n")); err != nil {
			return 0, err
		}
		l.torn = false
	}
	n, err := l.out.Write(line)
	if n > 0 {
		l.torn = line[n-1] != '\n'
	}
	return n, err
}
