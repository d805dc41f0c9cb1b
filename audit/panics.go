package audit

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/internal/apart"
)

// A signer, an engine and what retention asks may be the application's own. They are asked on goroutines of the log's and the stream's, on
// which a panic would end the process, and which nothing goes on without where they are ended; and while the log's lock is held. One that
// panics, or ends its goroutine, has failed like any other.

// ask calls code of the application's.
func ask(of string, code func() error) error {
	broke, err := apart.Call(code)
	if broke != "" {
		return errors.New(of + " " + broke)
	}
	return err
}

const theSigner = "the signer"

// guardedSigner is a signer that may not return, or change its key.
type guardedSigner struct {
	note.Signer
	name     string
	hash     uint32
	verifier note.Verifier // nil for one that nobody knows the public key of
}

func guardSigner(s note.Signer) (g *guardedSigner, err error) {
	g = &guardedSigner{Signer: s}
	err = ask(theSigner, func() error {
		g.name, g.hash = s.Name(), s.KeyHash()
		return nil
	})
	return g, err
}

// Name implements [note.Signer].
func (g *guardedSigner) Name() string { return g.name }

// KeyHash implements [note.Signer].
func (g *guardedSigner) KeyHash() uint32 { return g.hash }

// Sign implements [note.Signer].
func (g *guardedSigner) Sign(msg []byte) (sig []byte, err error) {
	err = ask(theSigner, func() (err error) {
		sig, err = g.Signer.Sign(msg)
		return err
	})
	return sig, err
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

// guardedEngine is an engine that may not return.
type guardedEngine struct {
	Engine
	name string
}

const theEngine = "the engine"

func guardEngine(e Engine) (g *guardedEngine, err error) {
	g = &guardedEngine{Engine: e}
	err = ask(theEngine, func() error {
		g.name = e.String()
		return nil
	})
	return g, err
}

func (g *guardedEngine) String() string { return g.name }

func (g *guardedEngine) Append(ctx context.Context, rows []Row) error {
	return ask(theEngine, func() error { return g.Engine.Append(ctx, rows) })
}

func (g *guardedEngine) Close() error { return ask(theEngine, g.Engine.Close) }

// needed asks what somebody has still to read.
func (r *Retention) needed(ctx context.Context) (first int64, err error) {
	err = ask("Retention.Needed", func() (err error) {
		first, err = r.Needed(ctx)
		return err
	})
	return first, err
}
