package audit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/internal/callstack"
)

// A signer, an engine and what retention asks may be the application's own. They are asked on goroutines of the log's and the stream's, on
// which a panic would end the process, and while the log's lock is held: one that panics has failed like any other.

// recovered makes a panic an error. What it says may be of a key or an event, and is not repeated.
func recovered(err *error, of string) {
	if recover() != nil {
		*err = fmt.Errorf("%s panicked\n\n%s", of, callstack.Words())
	}
}

const theSigner = "the signer"

// guardedSigner is a signer that may panic, or change its key.
type guardedSigner struct {
	note.Signer
	name     string
	hash     uint32
	verifier note.Verifier // nil for one that nobody knows the public key of
}

func guardSigner(s note.Signer) (g *guardedSigner, err error) {
	defer recovered(&err, theSigner)
	return &guardedSigner{Signer: s, name: s.Name(), hash: s.KeyHash()}, nil
}

// Name implements [note.Signer].
func (g *guardedSigner) Name() string { return g.name }

// KeyHash implements [note.Signer].
func (g *guardedSigner) KeyHash() uint32 { return g.hash }

// Sign implements [note.Signer].
func (g *guardedSigner) Sign(msg []byte) (sig []byte, err error) {
	defer recovered(&err, theSigner)
	return g.Signer.Sign(msg)
}

// signNote signs what is to be written. A signature that is not by the log's key is an error: files that have one are tampered with, for
// ever.
func signNote(signer note.Signer, text string) ([]byte, error) {
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	if g, ok := signer.(*guardedSigner); ok && err == nil && g.verifier != nil {
		if _, err := note.Open(msg, note.VerifierList(g.verifier)); err != nil {
			return nil, errors.New("the signer's signature is not by the log's key; see that it has that key still")
		}
	}
	return msg, err
}

// guardedEngine is an engine that may panic.
type guardedEngine struct {
	Engine
	name string
}

const theEngine = "the engine"

func guardEngine(e Engine) (g *guardedEngine, err error) {
	defer recovered(&err, theEngine)
	return &guardedEngine{e, e.String()}, nil
}

func (g *guardedEngine) String() string { return g.name }

func (g *guardedEngine) Append(ctx context.Context, rows []Row) (err error) {
	defer recovered(&err, theEngine)
	return g.Engine.Append(ctx, rows)
}

func (g *guardedEngine) Close() (err error) {
	defer recovered(&err, theEngine)
	return g.Engine.Close()
}

// needed asks what somebody has still to read.
func (r *Retention) needed(ctx context.Context) (first int64, err error) {
	defer recovered(&err, "Retention.Needed")
	return r.Needed(ctx)
}
