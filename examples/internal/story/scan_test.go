package story

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSearchFinds hides a secret in each way in which it is searched for, at every alignment and across the edges of
// the buffer, and expects to find it; and expects to find nothing where it is not.
func TestSearchFinds(t *testing.T) {
	const secret, other = "Ælfgifu of Northampton", "not there at all"
	s, err := newSearch([]string{secret, other, strings.Repeat("long ", 1000)})
	if err != nil {
		t.Fatal(err)
	}
	finds := func(content []byte) bool {
		found := false
		n, err := s.read(iotest.HalfReader(bytes.NewReader(content)), func(text string) {
			if text != secret {
				t.Errorf("found %q", text)
			}
			found = true
		})
		if err != nil || n != int64(len(content)) {
			t.Fatal(n, err)
		}
		return found
	}
	size := max(1<<20, 2*s.longer)
	for _, before := range []int{0, 1, 2, 3, 100, size - len(secret) - 1, size - len(secret), size - 5, size - 1, size, size + 1, 2 * size} {
		noise := bytes.Repeat([]byte{'.'}, before)
		plain := append(bytes.Clone(noise), secret+"......"...)
		for what, content := range map[string][]byte{
			"plain": plain, "hex": []byte(hex.EncodeToString(plain)), "HEX": bytes.ToUpper([]byte(hex.EncodeToString(plain))),
			"base64": []byte(base64.StdEncoding.EncodeToString(plain)), "base64url": []byte(base64.RawURLEncoding.EncodeToString(plain)),
		} {
			if !finds(content) {
				t.Errorf("%s after %d bytes: not found", what, before)
			}
		}
		if finds(append(noise, secret[:len(secret)-1]...)) {
			t.Errorf("after %d bytes: found although its last byte is missing", before)
		}
	}
	if _, err := newSearch([]string{"short"}); err == nil {
		t.Error("a text that is too short was accepted")
	}
}
