package offboard

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
)

// specEnvelope is the test vector of DSSE's protocol.md.
const specEnvelope = `{"payload": "aGVsbG8gd29ybGQ=",
 "payloadType": "http://example.com/HelloWorld",
 "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}`

// specKey verifies what the vector's key has signed: ECDSA over NIST P-256 and SHA-256, r and s one after the other.
type specKey struct{}

func (specKey) Verify(sig, data []byte) error {
	point := []byte{4} // uncompressed
	for _, s := range []string{"46950820868899156662930047687818585632848591499744589407958293238635476079160", "5640078356564379163099075877009565129882514886557779369047442380624545832820"} {
		n, _ := new(big.Int).SetString(s, 10)
		point = append(point, n.FillBytes(make([]byte, 32))...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if len(sig) != 64 || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return errors.New("no")
	}
	return nil
}

func TestTheVectorOfDSSE(t *testing.T) {
	if got := string(preAuth("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Errorf("%q", got)
	}
	payload, err := open([]byte(specEnvelope), "http://example.com/HelloWorld", specKey{})
	if err != nil || string(payload) != "hello world" {
		t.Errorf("%q, %v", payload, err)
	}
}

// TestEnvelopesThatAreRefused changes the vector in one place each.
func TestEnvelopesThatAreRefused(t *testing.T) {
	const typ = "http://example.com/HelloWorld"
	for name, change := range map[string]func(e map[string]any){
		"another payload":       func(e map[string]any) { e["payload"] = "aGVsbG8gd29ybGR=" },
		"a payload of no bytes": func(e map[string]any) { e["payload"] = "" },
		"no base64":             func(e map[string]any) { e["payload"] = "aGVsbG8gd29ybGQ" },
		"another type":          func(e map[string]any) { e["payloadType"] = typ + "2" },
		"no type":               func(e map[string]any) { delete(e, "payloadType") },
		"no signature":          func(e map[string]any) { e["signatures"] = []any{} },
		"another signature":     func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": "AAAA"}} },
		"an empty signature":    func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": ""}} },
		"too many signatures": func(e map[string]any) {
			for range maxSignatures {
				e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)[0])
			}
		},
		"something else": func(e map[string]any) { e["signatures"] = "x" },
	} {
		var e map[string]any
		if err := json.Unmarshal([]byte(specEnvelope), &e); err != nil {
			t.Fatal(err)
		}
		change(e)
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(data, typ, specKey{}); !errors.Is(err, ErrNotVerified) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string]string{"nothing": "", "no JSON": "x", "cut short": specEnvelope[:100], "more behind it": specEnvelope + "{}"} {
		if _, err := open([]byte(data), typ, specKey{}); !errors.Is(err, ErrNotVerified) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open(make([]byte, maxEnvelope+1), typ, specKey{}); !errors.Is(err, ErrNotVerified) {
		t.Errorf("too large: %v", err)
	}
	// A second signature, of a key that nobody knows, takes nothing away.
	var e envelope
	if err := json.Unmarshal([]byte(specEnvelope), &e); err != nil {
		t.Fatal(err)
	}
	e.Signatures = append([]signature{{"somebody", "AAAA"}}, e.Signatures...)
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(data, typ, specKey{}); err != nil {
		t.Errorf("signed twice: %v", err)
	}
}
