package archtest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxFile is how large a file of the repository may be.
const maxFile = 512 << 10

// programs are how the files begin that compilers make: ELF, Mach-O, PE, and archives of objects.
var programs = []string{"\x7fELF", "\xcf\xfa\xed\xfe", "MZ", "!<arch>\n"}

// TestFilesAreSources: what everybody who clones the repository gets has been written by somebody.
// `go build` in the root leaves programs there.
func TestFilesAreSources(t *testing.T) {
	root := filepath.Join("..", "..")
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("this is no git repository: %v", err) // a module's copy in a cache
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	for _, name := range files {
		f, err := os.Open(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 8)
		n, err := io.ReadFull(f, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxFile {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
		for _, p := range programs {
			if bytes.HasPrefix(head[:n], []byte(p)) {
				t.Errorf("%s is a program", name)
			}
		}
	}
	if len(files) < 100 {
		t.Errorf("%d files were looked at", len(files))
	}
}
