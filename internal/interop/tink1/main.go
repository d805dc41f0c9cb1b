// Command tink1 does single operations with Tink for Go 1.7.0. It is a program of its own, because the two versions of Tink
// register the same protocol buffers and cannot be in one.
//
// It reads a request from standard input and writes a response to standard output, both in JSON.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/google/tink/go/aead"
	"github.com/google/tink/go/daead"
	"github.com/google/tink/go/insecurecleartextkeyset"
	"github.com/google/tink/go/keyset"
	"github.com/google/tink/go/prf"
	"github.com/google/tink/go/streamingaead"
)

type request struct {
	Keyset    []byte // serialized, in the clear
	Primitive string // aead, daead, prf or streamingaead
	Open      bool   // decrypt; else encrypt
	Input     []byte
	AD        []byte // associated data
}

func main() {
	var in request
	out, err := []byte(nil), json.NewDecoder(os.Stdin).Decode(&in)
	if err == nil {
		out, err = in.do()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (r *request) do() ([]byte, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(r.Keyset)))
	if err != nil {
		return nil, err
	}
	switch r.Primitive {
	case "aead":
		p, err := aead.New(h)
		if err != nil {
			return nil, err
		}
		if r.Open {
			return p.Decrypt(r.Input, r.AD)
		}
		return p.Encrypt(r.Input, r.AD)
	case "daead":
		p, err := daead.New(h)
		if err != nil {
			return nil, err
		}
		if r.Open {
			return p.DecryptDeterministically(r.Input, r.AD)
		}
		return p.EncryptDeterministically(r.Input, r.AD)
	case "prf":
		p, err := prf.NewPRFSet(h)
		if err != nil {
			return nil, err
		}
		return p.ComputePrimaryPRF(r.Input, 16)
	case "streamingaead":
		p, err := streamingaead.New(h)
		if err != nil {
			return nil, err
		}
		if r.Open {
			reader, err := p.NewDecryptingReader(bytes.NewReader(r.Input), r.AD)
			if err != nil {
				return nil, err
			}
			return io.ReadAll(reader)
		}
		var out bytes.Buffer
		w, err := p.NewEncryptingWriter(&out, r.AD)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(r.Input); err != nil {
			return nil, err
		}
		err = w.Close()
		return out.Bytes(), err
	}
	return nil, fmt.Errorf("the primitive %q is unknown", r.Primitive)
}
