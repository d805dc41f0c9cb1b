//go:build unix

package blobs

import (
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTheEnvironmentsFilesHaveAnEnd: a pipe into which nobody writes would be waited for for ever, here and in the SDK, and a device read until there is
// no memory left. The empty device is how a file is said not to be there.
func TestTheEnvironmentsFilesHaveAnEnd(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	t.Setenv("HOME", dir)
	for _, c := range []struct {
		variable string
		check    func() error
	}{
		{"AWS_CONFIG_FILE", func() error { return checkAWS(url.Values{}) }},
		{"AWS_SHARED_CREDENTIALS_FILE", func() error { return checkAWS(url.Values{}) }},
		{"GOOGLE_APPLICATION_CREDENTIALS", func() error { return checkGoogle() }},
	} {
		for path, refused := range map[string]bool{pipe: true, "/dev/zero": true, dir: true, "/dev/null": false} {
			t.Setenv(c.variable, path)
			if err := c.check(); (err != nil) != refused || refused && !strings.Contains(err.Error(), "no regular file") {
				t.Errorf("%s=%s: %v", c.variable, path, err)
			}
		}
		t.Setenv(c.variable, "")
	}
}
