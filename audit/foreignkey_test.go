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

// Nor does retention go by them: a record by another key, which says that leaf hashes were deleted that the log has, has it delete
// none, as it lets no log be opened.
func TestAnotherKeysRecord(t *testing.T) {
	dir, opts := aging(t)
	l := mustOpen(t, dir, opts)
	fillLog(t, l, "s", 30)
	first := mustRetain(t, l, &Retention{Bytes: 19 << 10}).First
	c, err := readConfig(vfs.OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := verifierList(c.Verifiers, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	record, err := readPruned(vfs.OS{}, dir, c.Origin, genuine)
	if err != nil || record.Events != first || first == 0 {
		t.Fatal(record, err)
	}
	secret, verifier, err := note.GenerateKey(rand.Reader, c.Origin)
	if err != nil {
		t.Fatal(err)
	}
	record.hashed = record.tree.clone()
	body, err := record.body()
	if err != nil {
		t.Fatal(err)
	}
	file, err := signBody(mustSigner(t, secret), prunedText, body)
	if err != nil {
		t.Fatal(err)
	}
	c.Verifiers = append([]string{verifier}, c.Verifiers...)
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	before := readFile(t, filepath.Join(dir, prunedName))
	writeFile(t, filepath.Join(dir, configName), content)
	writeFile(t, filepath.Join(dir, prunedName), file)
	leaves := filesIn(t, dir)["leaves"]
	if _, err := l.Retain(background, &Retention{Bytes: 1 << 10}); !errors.Is(err, ErrTampered) {
		t.Errorf("retention: %v", err)
	}
	if now := filesIn(t, dir)["leaves"]; now != leaves {
		t.Errorf("%d files of leaf hashes, and %d before", now, leaves)
	}
	mustClose(t, l)
	if l, err := OpenLog(dir, opts); !errors.Is(err, ErrTampered) {
		t.Errorf("opening: %v", err)
		if err == nil {
			l.Close()
		}
	}
	writeFile(t, filepath.Join(dir, prunedName), before)
	l = mustOpen(t, dir, opts)
	if done := mustRetain(t, l, &Retention{Bytes: 1 << 10}); done.First < first {
		t.Errorf("%+v", done)
	}
	mustClose(t, l)
}
