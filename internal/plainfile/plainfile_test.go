//go:build unix

package plainfile_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// TestOnlyFilesAreRead: what else a name may be of is refused at once, and says what it is.
func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(syscall.Mkfifo(in("pipe"), 0o600))
	socket, err := net.Listen("unix", in("socket"))
	must(err)
	defer socket.Close()
	must(os.Symlink(in("pipe"), in("link")))
	for path, what := range map[string]string{dir: "a directory", in("pipe"): "a pipe", in("link"): "a pipe", in("socket"): "a socket", "/dev/zero": "a device", "/dev/null": "a device"} {
		content, err := plainfile.Read(path, 1<<10)
		var at *fs.PathError
		if content != nil || !errors.Is(err, plainfile.ErrNotRegular) || !errors.As(err, &at) || at.Path != path || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %q, %v", path, content, err)
		}
	}
	if _, err := plainfile.Read(in("absent"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

// TestFilesAreReadToALimit: a file has as many bytes as it may have, or is refused.
func TestFilesAreReadToALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	link := path + ".link"
	if err := errors.Join(os.WriteFile(path, []byte("content"), 0o600), os.Symlink(path, link)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		if got, err := plainfile.Read(p, 7); err != nil || string(got) != "content" {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := plainfile.Read(p, 6); got != nil || err == nil || !strings.Contains(err.Error(), "more than 6 bytes") || strings.Contains(err.Error(), "content") {
			t.Errorf("%q, %v", got, err)
		}
	}
}
