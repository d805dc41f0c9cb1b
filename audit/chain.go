package audit

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A chain authenticates the batches of one session that no checkpoint seals yet, so that an opening after a crash can
// tell them from lines that somebody else appended. Each batch has a key of its own, and the key of the next is made by
// a one-way step that forgets it: whoever takes over the process learns no key of an earlier batch.
//
// This is the log of Schneier and Kelsey ("Cryptographic Support for Secure Logs on Untrusted Machines", USENIX Security
// 1998), where a key authenticates an entry and is then hashed into the next, and its keys are a forward-secure
// generator of Bellare and Yee ("Forward-Security in Private-Key Cryptography", CT-RSA 2003, section 2: from state s,
// F(s, 0) is the next state and F(s, 1) the output), with HMAC-SHA256 (RFC 2104) as the pseudorandom function F: the
// output is F of 1 and the batch, which is its MAC. systemd's Forward Secure Sealing is of the same kind. Generators are
// nested, a new inner one after so many batches, so that the key of any batch is found in few steps.
//
// The first key is protected by the signer, and never stored: it is HKDF-SHA256 (RFC 5869) of the signer's signature on
// a text with a random nonce, which nobody else is given. An Ed25519 signature is a function of key and message (RFC
// 8032, section 5.1.6) that nobody without the key predicts, and a hash turns such a function into a pseudorandom one
// (Naor and Reingold, "From Unpredictability to Indistinguishability", CRYPTO 1998). The nonce stands in the
// audit.started event, and so under the checkpoint that seals it.
type chain struct {
	nonce    string // base64
	epoch    int64  // batches that an inner generator has keys for
	position int64  // of the next batch in the session, from 0
	epochs   forwardKey
	batches  forwardKey // of this epoch
	input    []byte     // of mac, for reuse
}

const (
	chainText  = "strongroom/audit-chain/v1"
	chainNonce = 16      // bytes
	epochSize  = 1 << 16 // batches
)

// forwardKey is the state of a forward-secure generator, as the key of F.
type forwardKey struct{ f hash.Hash }

func newForwardKey(state [sha256.Size]byte) forwardKey {
	return forwardKey{hmac.New(sha256.New, state[:])}
}

// output is F of a byte 1 and what follows it.
func (k forwardKey) output(of []byte) (out [sha256.Size]byte) {
	k.f.Reset()
	k.f.Write([]byte{1})
	k.f.Write(of)
	k.f.Sum(out[:0])
	return out
}

// step goes on to the next state and forgets this one.
func (k *forwardKey) step() {
	var next [sha256.Size]byte
	k.f.Reset()
	k.f.Write([]byte{0})
	k.f.Sum(next[:0])
	*k = newForwardKey(next)
}

var errNoChain = errors.New("the signer signs the same text differently each time")

// newChain begins the chain of a session. It returns errNoChain for a signer whose signatures are not a function of
// what is signed, as those of Ed25519 are.
func newChain(signer note.Signer) (*chain, error) {
	var nonce [chainNonce]byte
	rand.Read(nonce[:]) // it never fails: see its documentation
	return openChain(signer, base64.StdEncoding.EncodeToString(nonce[:]))
}

// openChain returns the chain with a nonce, at its beginning.
func openChain(signer note.Signer, nonce string) (*chain, error) {
	if raw, err := base64.StdEncoding.Strict().DecodeString(nonce); err != nil || len(raw) != chainNonce {
		return nil, errors.New("the nonce of the session's chain is malformed")
	}
	return deriveChain(signer, chainText, nonce, epochSize)
}

// deriveChain returns the chain that a purpose and a nonce name, at its beginning.
func deriveChain(signer note.Signer, purpose, nonce string, epoch int64) (*chain, error) {
	first, err := deriveKey(signer, purpose, nonce)
	if err != nil {
		return nil, err
	}
	c := &chain{nonce: nonce, epoch: epoch, epochs: newForwardKey(first)}
	c.beginEpoch()
	return c, nil
}

// deriveKey returns a secret that follows from the signer, a purpose and a nonce, and that nobody without the signer knows.
func deriveKey(signer note.Signer, purpose, nonce string) (key [sha256.Size]byte, err error) {
	text := fmt.Appendf(nil, "%s\n%s\n%s\n", purpose, signer.Name(), nonce) // no checkpoint: its second line is no number
	sig, err := signer.Sign(text)
	if err != nil {
		return key, fmt.Errorf("the signer does not sign: %w", err)
	}
	again, err := signer.Sign(text)
	if err != nil {
		return key, fmt.Errorf("the signer does not sign: %w", err)
	}
	if !bytes.Equal(sig, again) {
		return key, errNoChain
	}
	derived, err := hkdf.Key(sha256.New, sig, []byte(nonce), purpose, sha256.Size)
	clear(sig)
	clear(again)
	if err != nil {
		return key, fmt.Errorf("deriving the chain's first key: %w", err)
	}
	key = [sha256.Size]byte(derived)
	clear(derived)
	return key, nil
}

func (c *chain) beginEpoch() {
	c.batches = newForwardKey(c.epochs.output(nil))
	c.epochs.step()
}

// advance forgets the key of the batch at the chain's position and goes on to the next.
func (c *chain) advance() {
	if c.position++; c.position%c.epoch == 0 {
		c.beginEpoch()
	} else {
		c.batches.step()
	}
}

// skip advances to a position that is not before the chain's.
func (c *chain) skip(position int64) {
	for ; c.position/c.epoch < position/c.epoch; c.position += c.epoch - c.position%c.epoch {
		c.beginEpoch()
	}
	for c.position < position {
		c.advance()
	}
}

// mac authenticates the batch at the chain's position: the index of its first line, and the leaf hashes of its lines,
// that of the last one without its tag.
func (c *chain) mac(first int64, leaves []tlog.Hash) [sha256.Size]byte {
	c.input = binary.BigEndian.AppendUint64(c.input[:0], uint64(first))
	for i := range leaves {
		c.input = append(c.input, leaves[i][:]...)
	}
	return c.batches.output(c.input)
}

// rowMAC authenticates one row of a stream, under the key of the batch it came with: its number and its line.
func (c *chain) rowMAC(h *leafHasher, number int64, line []byte) [sha256.Size]byte {
	return c.mac(number, []tlog.Hash{h.leaf(line)})
}

// A tag ends the last line of a batch, in metadata.labels: the batch's position in its session and its MAC. In the line
// it takes the place of lineEnd.
const (
	tagBegin = `,"labels":["batch:`
	tagEnd   = `"]` + lineEnd
	tagRoom  = len(tagBegin) + 20 + 1 + 43 + len(tagEnd)
)

func appendTag(dst []byte, position int64, mac [sha256.Size]byte) []byte {
	dst = strconv.AppendInt(append(dst, tagBegin...), position, 10)
	dst = base64.RawStdEncoding.AppendEncode(append(dst, ':'), mac[:])
	return append(dst, tagEnd...)
}

// tag is what stands in a batch's last line.
type tag struct {
	at       int // where it begins in the line
	position int64
	mac      [sha256.Size]byte
}

// parseTag finds the tag of a line (without its newline); ok is false for a line that has none in the one spelling that
// appendTag gives it.
func parseTag(line []byte) (t tag, ok bool) {
	t.at = bytes.LastIndex(line[max(0, len(line)-tagRoom):], []byte(tagBegin))
	if t.at < 0 {
		return t, false
	}
	t.at += max(0, len(line)-tagRoom)
	position, sum, _ := bytes.Cut(line[t.at+len(tagBegin):], []byte(":"))
	n, err := strconv.ParseInt(string(position), 10, 64)
	sum, found := bytes.CutSuffix(sum, []byte(tagEnd[:len(tagEnd)-1]))
	if err != nil || n < 0 || !found || len(sum) != base64.RawStdEncoding.EncodedLen(len(t.mac)) {
		return t, false
	}
	if _, err := base64.RawStdEncoding.Strict().Decode(t.mac[:], sum); err != nil {
		return t, false
	}
	t.position = n
	return t, bytes.Equal(appendTag(nil, n, t.mac)[:len(line)-t.at], line[t.at:])
}
