package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// sealedEnd is what stands at the newest checkpoint, and so decides what may stand behind it.
type sealedEnd struct {
	code     Code   // of the last event that it seals
	nonce    string // of the chain of the session; "" for none
	position int64  // of the next batch in the chain
}

// ended tells whether the log was closed there: then nothing may follow but what the next opening writes.
func (e *sealedEnd) ended() bool { return e.code == CodeLogStopping }

// loose tells whether nothing authenticates what follows: it was written by an earlier release, or with a signer that
// has no chain.
func (e *sealedEnd) loose() bool { return !e.ended() && e.nonce == "" }

// behind tells whether all checkpoints have been reached that must be. One that was written while the events were looked
// at may seal some that are not looked at.
func (r *replay) behind() bool { return r.next == nil || r.checkpoints.end > r.required }

// unproven returns the events behind the newest checkpoint that nothing authenticates.
func (r *replay) unproven() Span {
	if !r.end.loose() {
		return Span{}
	}
	return Span{r.sealed.tree.N, r.tree.size - r.sealed.tree.N}
}

// batchReader gathers the lines behind the newest checkpoint until their batch is complete.
type batchReader struct {
	lines    [][]byte
	hashes   []tlog.Hash
	size     int64  // bytes of the lines, with their newlines
	position int64  // of the batch in its session
	chain    *chain // opened when it is first needed
}

func (b *batchReader) reset() { b.lines, b.hashes, b.size = b.lines[:0], b.hashes[:0], 0 }

// maxTail bounds what is kept of an incomplete batch: more than any has, and an opening's events behind it.
const maxTail = maxBatch + 2*maxLine

// tailLine takes in one event behind the checkpoints. It counts once its batch is complete and authentic.
func (r *replay) tailLine(file string, line, leaf []byte) error {
	b := &r.batches
	index := r.tree.size + int64(len(b.lines))
	hash := r.hasher.leaf(line)
	r.hash = hash
	if !unfinished(leaf, hash[:]) {
		return r.tampered(file, index, "its bytes do not have the hash that was recorded for them")
	}
	m, ok := parseMeta(line)
	if !ok || !json.Valid(line) {
		return r.malformed(file, index)
	}
	if r.end.loose() {
		return r.accept(file, line, hash, m)
	}
	if code := Code(m.code); r.end.ended() && (m.tenant != nil || len(b.lines) > 1 || code != CodeLogStarted && code != CodeLogRecovered) {
		return r.tampered(file, index, "it stands behind the end of a log that was closed: somebody who has not its key put it there")
	}
	b.lines, b.hashes, b.size = append(b.lines, bytes.Clone(line)), append(b.hashes, hash), b.size+int64(len(line))+1
	if b.size > maxTail {
		return r.tampered(file, r.tree.size, "%d bytes of events behind it are no whole batch, and no write of the log is that long", b.size)
	}
	if r.next != nil && r.next.tree.N == index+1 {
		return r.acceptBatch(file) // and compare it with that checkpoint
	}
	if t, ok := parseTag(line); ok && !r.end.ended() {
		if err := r.authenticate(file, t); err != nil {
			return err
		}
		return r.acceptBatch(file)
	}
	return nil
}

func (r *replay) acceptBatch(file string) error {
	b := r.batches
	r.batches.lines, r.batches.hashes, r.batches.size = nil, nil, 0
	for i, line := range b.lines {
		m, _ := parseMeta(line)
		if err := r.accept(file, line, b.hashes[i], m); err != nil {
			return err
		}
	}
	return nil
}

// authenticate checks the tag that completes the batch. Without the log's key only its place can be checked.
func (r *replay) authenticate(file string, t tag) error {
	b := &r.batches
	last := len(b.lines) - 1
	forged := func() error {
		return r.tampered(file, r.tree.size, "it and the %d events behind it are not authentic: somebody who has not the log's key put them there or changed them", last)
	}
	if t.position != b.position {
		return forged()
	}
	b.position++
	if r.chain == nil {
		return nil
	}
	if b.chain == nil {
		c, err := r.chain(r.end.nonce)
		if err != nil {
			return fmt.Errorf("audit: cannot authenticate the last events in %s: %w; open the log with the signer it had", r.dir, err)
		}
		b.chain = c
		b.chain.skip(t.position)
	}
	whole := b.hashes[last]
	b.hashes[last] = r.hasher.leaf(b.lines[last][:t.at], []byte(lineEnd[:len(lineEnd)-1]))
	mac := b.chain.mac(r.tree.size, b.hashes)
	b.hashes[last] = whole
	b.chain.advance()
	if !hmac.Equal(mac[:], t.mac[:]) {
		return forged()
	}
	return nil
}

// dropBatch counts an incomplete batch at the end of the log as what a write cut short left: it was not acknowledged.
func (r *replay) dropBatch() {
	r.tail.torn += r.batches.size
	r.tail.dropped += int64(len(r.batches.lines))
	r.batches.reset()
}

// unfinished tells whether b is what may be left of want when power is lost before it is synced: some of it, with zeros
// where the file was extended and never filled.
func unfinished(b, want []byte) bool {
	for i, c := range b {
		if c != 0 && c != want[i] {
			return false
		}
	}
	return true
}

// parseOwn reads what an event of the log itself says beside its reason.
func parseOwn(line []byte) (o own) {
	var doc struct {
		Unmapped struct {
			Chain           string `json:"chain"`
			Unauthenticated struct {
				First int64 `json:"first"`
				Count int64 `json:"count"`
			} `json:"unauthenticated"`
		} `json:"unmapped"`
	}
	if json.Unmarshal(line, &doc) == nil {
		o.chain, o.unproven = doc.Unmapped.Chain, Span(doc.Unmapped.Unauthenticated)
	}
	return o
}

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
