package audit

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// The verifier keys in log.json are nobody's word: whoever can write to the log's files can put one of their own before the
// log's. An opening takes no checkpoint by it, and so goes on from no history that the log's key did not sign.
func TestAnotherKeyInTheConfiguration(t *testing.T) {
	dir, forgery := t.TempDir(), t.TempDir()
	l := mustOpen(t, dir, quiet())
	mustRecord(t, l, query(acme, "what somebody wants forgotten"))
	mustClose(t, l)
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}

	secret, verifier, err := note.GenerateKey(rand.Reader, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	opts := quiet()
	opts.Origin, opts.Signer, opts.Verifier = c.Origin, mustSigner(t, secret), verifier
	forged := mustOpen(t, forgery, opts)
	mustRecord(t, forged, query(acme, "forged"))
	mustClose(t, forged)

	c.Verifiers = append([]string{verifier}, c.Verifiers...)
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, configName), content)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, stateName)), os.RemoveAll(filepath.Join(dir, segmentsName))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, segmentsName), os.DirFS(filepath.Join(forgery, segmentsName))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, checkpointsName), readFile(t, filepath.Join(forgery, checkpointsName)))
	l, err = OpenLog(dir, quiet())
	if err == nil {
		l.Close()
	}
	if !errors.Is(err, ErrTampered) {
		t.Errorf("a history by another key was opened: %v", err)
	}
}
