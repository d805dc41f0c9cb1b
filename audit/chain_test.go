package audit

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TestChainKeys computes the keys of batches anew, as the format's documentation says it, without the chain's code.
func TestChainKeys(t *testing.T) {
	secret, _, err := note.GenerateKey(rand.Reader, "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	signer := mustSigner(t, secret)
	prf := func(key []byte, input ...byte) []byte {
		m := hmac.New(sha256.New, key)
		m.Write(input)
		return m.Sum(nil)
	}
	c, err := newChain(signer)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign([]byte("strongroom/audit-chain/v1\nexample.com/log\n" + c.nonce + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := hkdf.Key(sha256.New, sig, []byte(c.nonce), "strongroom/audit-chain/v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	leaves := []tlog.Hash{tlog.RecordHash([]byte("a")), tlog.RecordHash([]byte("b"))}
	want := func(position, index int64) []byte {
		epoch := first
		for range position / 65536 {
			epoch = prf(epoch, 0)
		}
		state := prf(epoch, 1)
		for range position % 65536 {
			state = prf(state, 0)
		}
		input := binary.BigEndian.AppendUint64([]byte{1}, uint64(index))
		return prf(state, append(append(input, leaves[0][:]...), leaves[1][:]...)...)
	}
	for _, position := range []int64{0, 1, 2, 1000, 65535, 65536, 65537, 200_000} {
		for c.position < position {
			c.advance()
		}
		skipped, err := openChain(signer, c.nonce)
		if err != nil {
			t.Fatal(err)
		}
		skipped.skip(position)
		if skipped.position != c.position || skipped.mac(0, nil) != c.mac(0, nil) || skipped.epochs.output(nil) != c.epochs.output(nil) {
			t.Errorf("position %d: skipping and advancing differ", position)
		}
		if got := c.mac(77, leaves); !bytes.Equal(got[:], want(position, 77)) {
			t.Errorf("position %d: the MAC is %x", position, got)
		}
	}
	other, err := newChain(signer)
	if err != nil || other.nonce == c.nonce || other.mac(0, nil) == c.mac(0, nil) {
		t.Errorf("two sessions share a chain: %v", err)
	}
}

// TestTagSpelling: a tag has one spelling, and nothing else is one.
func TestTagSpelling(t *testing.T) {
	line := appendTag([]byte(`{"time":1,"metadata":{"sequence":5`), 1234, sha256.Sum256([]byte("x")))
	line = bytes.TrimSuffix(line, []byte("\n"))
	got, ok := parseTag(line)
	if !ok || got.position != 1234 || got.mac != sha256.Sum256([]byte("x")) || string(line[:got.at]) != `{"time":1,"metadata":{"sequence":5` {
		t.Fatalf("%+v, %v of %s", got, ok, line)
	}
	for i := range line[got.at:] {
		changed := bytes.Clone(line)
		changed[got.at+i] ^= 1
		if again, ok := parseTag(changed); ok && again == got {
			t.Errorf("with byte %d changed it is the same tag: %s", i, changed)
		}
	}
	mac := base64.RawStdEncoding.EncodeToString(got.mac[:])
	for _, bad := range []string{
		"", "batch", `,"labels":["batch:1"]}}`, fmt.Sprintf(`,"labels":["batch:01:%s"]}}`, mac), fmt.Sprintf(`,"labels":["batch:-1:%s"]}}`, mac),
		fmt.Sprintf(`,"labels":["batch:+1:%s"]}}`, mac), fmt.Sprintf(`,"labels":["batch:1:%s="]}}`, mac), fmt.Sprintf(`,"labels":["batch:1:%s"]} }`, mac),
		fmt.Sprintf(`,"labels":["batch:1:%s","x"]}}`, mac), fmt.Sprintf(`,"labels":["batch:1:%s"]}}x`, mac),
		fmt.Sprintf(`,"labels":["batch:99999999999999999999:%s"]}}`, mac), strings.Repeat("x", 300),
	} {
		if got, ok := parseTag([]byte(bad)); ok {
			t.Errorf("%s is taken for a tag: %+v", bad, got)
		}
	}
}
