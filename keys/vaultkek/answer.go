package vaultkek

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/vault/api"
)

// maxAnswer bounds the body of an answer, in bytes, once decompressed. Vault's are below 64 KiB here.
const maxAnswer = 1 << 20

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// The kinds of answers that are not Vault's: those of a proxy, a maintenance page, or another server in its place. They
// say nothing of a key, and may be different the next time: each becomes a keys.ErrUnavailable. They repeat nothing of
// the answer.
var (
	errTooLarge = fmt.Errorf("the answer has more than %d bytes; is this Vault?", maxAnswer)
	errRedirect = errors.New("the answer is a redirect, which is not followed; use the address of Vault itself")
	errEmpty    = errors.New("the answer is empty; is this Vault, or a proxy before it?")
	errShape    = errors.New("the answer is none of Vault's Transit engine; is this Vault, or a proxy before it?")
)

// bounded reads every answer as a whole, whoever it is for, and only as far as it may go: one without end must not fill
// the memory. It does so before the Vault client returns, because that cancels the requests of raw answers.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return response, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLarge
	}
	if err == nil {
		err = io.EOF
	}
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:min(len(body), maxAnswer)]), failing{err}))
	return response, nil
}

// failing is a reader that has nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// CloseIdleConnections lets an [http.Client] close them.
func (b bounded) CloseIdleConnections() {
	if c, ok := b.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// message is what Vault answers with, as far as it matters here.
type message struct {
	RequestID string          `json:"request_id"`
	Data      json.RawMessage `json:"data"`
}

// decode reads an answer and takes the data out. Data may be nil where what the answer says does not matter; then it must
// still be one of Vault's.
func decode(response *api.Response, data any) error {
	if response.StatusCode >= 300 {
		return errRedirect // everything above was an error already
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0 && data == nil && response.StatusCode == http.StatusNoContent:
		return nil
	case len(body) == 0:
		return errEmpty
	}
	var m message
	if json.Unmarshal(body, &m) != nil || data == nil && m.RequestID == "" && len(m.Data) == 0 {
		return errShape // the decoder's own error may repeat what it has seen
	}
	if data != nil && (len(m.Data) == 0 || json.Unmarshal(m.Data, data) != nil) {
		return errShape
	}
	return nil
}

// read asks for what is at path.
func (k *KEK) read(ctx context.Context, path string, data any) error {
	return k.call(ctx, func(ctx context.Context) error {
		response, err := k.client.Logical().ReadRawWithContext(ctx, path)
		return finish(response, err, data)
	})
}

// write sends an operation. What it answers goes into data, which may be nil.
func (k *KEK) write(ctx context.Context, path string, parameters map[string]any, data any) error {
	body, err := json.Marshal(parameters)
	if err != nil {
		return errors.New("serialize the request")
	}
	defer clear(body)
	return k.call(ctx, func(ctx context.Context) error {
		response, err := k.client.Logical().WriteRawWithContext(ctx, path, body)
		return finish(response, err, data)
	})
}

func finish(response *api.Response, err error, data any) error {
	if response != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return err
	}
	return decode(response, data)
}
