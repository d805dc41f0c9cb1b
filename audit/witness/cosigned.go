package witness

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
)

// Cosigned is a checkpoint that a witness signed.
type Cosigned struct {
	Witness string // its name
	Head    audit.TreeHead
	Time    time.Time // when the witness signed, by its own clock, in seconds
	Note    []byte    // the checkpoint with the log's and the witness's signature
}

const (
	dirName = "witness"
	// maxNote bounds a checkpoint and the answers of a witness; each is well below 8 KiB, with ML-DSA too.
	maxNote = 64 << 10
)

// Load returns what each witness signed last of the log in dir, as it is kept there; logKeys are the log's verifier keys and
// witnessKeys those of the witnesses, both in the form of golang.org/x/mod/sumdb/note and from a source that is trusted. A
// witness whose cosignature is missing, or is not genuine, is an error. The tree heads are pins:
// see [audit.VerifyOptions].
func Load(dir string, logKeys, witnessKeys []string) ([]Cosigned, error) {
	var all []Cosigned
	for _, key := range witnessKeys {
		w, err := verifier(key)
		if err != nil {
			return nil, err
		}
		c, err := load(dir, logKeys, w)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("witness: %s keeps no cosignature of %s: it was never submitted there, or the file was deleted; submit the log to the witness, which knows", dir, w.Name())
		}
		if err != nil {
			return nil, err
		}
		all = append(all, *c)
	}
	return all, nil
}

func verifier(key string) (note.Verifier, error) {
	w, err := cosign.NewVerifierForCosignatureV1(key)
	if err != nil {
		return nil, errors.New("witness: a witness's key is not of the form name+hash+key, or not of a kind that cosigns (Ed25519, ML-DSA-44)")
	}
	return w, nil
}

func path(dir string, w note.Verifier) string {
	return filepath.Join(dir, dirName, fmt.Sprintf("%08x.note", w.KeyHash()))
}

func load(dir string, logKeys []string, w note.Verifier) (*Cosigned, error) {
	name := path(dir, w)
	info, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("witness: %s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	c, err := parse(text, logKeys, w)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", audit.ErrTampered, name, err)
	}
	return c, nil
}

// parse checks both signatures of a cosigned checkpoint.
func parse(text []byte, logKeys []string, w note.Verifier) (*Cosigned, error) {
	n, err := note.Open(text, note.VerifierList(w))
	if err != nil {
		return nil, fmt.Errorf("it has no signature by %s", w.Name())
	}
	at, err := cosign.CoSigV1Timestamp(n.Sigs[0])
	if err != nil {
		return nil, fmt.Errorf("the signature by %s has no time", w.Name())
	}
	head, err := audit.ParseCheckpoint(withoutCosignatures(text), logKeys)
	if err != nil {
		return nil, errors.New("it is not a checkpoint signed by the log")
	}
	return &Cosigned{Witness: w.Name(), Head: head, Time: at.UTC(), Note: text}, nil
}

// withoutCosignatures returns the checkpoint as the log signed it: its text, a blank line, and the log's signature.
func withoutCosignatures(text []byte) []byte {
	body, signatures, _ := strings.Cut(string(text), "\n\n")
	own, _, _ := strings.Cut(signatures, "\n")
	return []byte(body + "\n\n" + own + "\n")
}
