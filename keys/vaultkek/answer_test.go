package vaultkek_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// inVaultsPlace opens a provider on a server that answers every call but the look-up of the token in its own way.
func inVaultsPlace(t *testing.T, o *vaultkek.Options, answer http.HandlerFunc) *vaultkek.KEK {
	t.Helper()
	server := httptest.NewServer(vaultsPlace(answer))
	t.Cleanup(server.Close)
	o.MaxRetries = -1
	return open(t, server.URL, vaultkek.Token("s.secret-token"), o)
}

func vaultsPlace(answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/lookup-self") {
			io.WriteString(w, `{"data":{"ttl":0,"renewable":false}}`)
			return
		}
		answer(w, r)
	})
}

// everyCall does what a provider can do.
func everyCall(ctx context.Context, k *vaultkek.KEK) map[string]error {
	return map[string]error{
		"Create":  k.Create(ctx, idA),
		"Wrap":    second(k.Wrap(ctx, idA, []byte(plaintext))),
		"Unwrap":  second(k.Unwrap(ctx, idA, []byte("vault:v1:AAAA"))),
		"Rewrap":  second(k.Rewrap(ctx, idA, []byte("vault:v1:AAAA"))),
		"Rotate":  k.Rotate(ctx, idA),
		"Destroy": k.Destroy(ctx, idA),
	}
}

// TestWhatAnswersInVaultsPlaceIsUnavailable: a proxy's answer says nothing of a key, neither that it is gone, nor that it
// was destroyed, nor that what it wrapped is damaged.
func TestWhatAnswersInVaultsPlaceIsUnavailable(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"nothing":               {200, ""},
		"no content":            {204, ""},
		"blanks":                {200, " \n"},
		"an empty object":       {200, `{}`},
		"an empty list":         {200, `[]`},
		"null":                  {200, `null`},
		"a page":                {200, `<html>canary-plaintext</html>`},
		"JSON cut short":        {200, `{"data":{"plaintext":"canary-plaintext`},
		"other JSON":            {200, `{"status":"canary-plaintext"}`},
		"no data":               {200, `{"request_id":"x","data":null}`},
		"data of another kind":  {200, `{"data":"canary-plaintext"}`},
		"a field of another":    {200, `{"data":{"plaintext":1e999,"ciphertext":7,"type":["canary-plaintext"]}}`},
		"no base64":             {200, `{"data":{"plaintext":"canary-plaintext!","ciphertext":"canary-plaintext","type":""}}`},
		"empty fields":          {200, `{"data":{"plaintext":"","ciphertext":"","type":""}}`},
		"accepted":              {202, ""},
		"a page, not found":     {404, `<html>canary-plaintext</html>`},
		"JSON, not found":       {404, `{"message":"canary-plaintext"}`},
		"nothing, not found":    {404, ``},
		"a page, bad request":   {400, `<html>key not found, invalid ciphertext, canary-plaintext</html>`},
		"a page, forbidden":     {403, `<html>invalid token canary-plaintext</html>`},
		"a page, unauthorized":  {401, `<html>canary-plaintext</html>`},
		"a page, wrong method":  {405, `<html>canary-plaintext</html>`},
		"a page, gone":          {410, `<html>canary-plaintext</html>`},
		"moved for good":        {301, ``},
		"moved":                 {302, `<html>canary-plaintext</html>`},
		"see other":             {303, ``},
		"moved for now":         {307, ``},
		"moved with its method": {308, ``},
		"choices":               {300, `{"data":{"plaintext":"QUJD","ciphertext":"vault:v1:QUJD","type":"aes256-gcm96"}}`},
		"bad gateway":           {502, `canary-plaintext`},
	} {
		t.Run(name, func(t *testing.T) {
			k := inVaultsPlace(t, &vaultkek.Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/canary-plaintext")
				w.WriteHeader(answer.status)
				io.WriteString(w, answer.body)
			})
			for call, err := range everyCall(t.Context(), k) {
				if !errors.Is(err, keys.ErrUnavailable) || errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrIntegrity) {
					t.Errorf("%s: %v", call, err)
				}
				wantText(t, err, []string{"s.secret-token"}, "transit/")
			}
		})
	}
}

// TestAnAnswerWithoutEndFillsNoMemory: neither its body, compressed or not, of a success or a failure, nor its header.
func TestAnAnswerWithoutEndFillsNoMemory(t *testing.T) {
	endless := func(w io.Writer, r *http.Request) {
		block := strings.Repeat("A", 1<<20)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.WriteString(z, `{"data":{"plaintext":"`+strings.Repeat("A", 4<<20))
	z.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"success": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"data":{"plaintext":"`)
			endless(w, r)
		},
		"refusal": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"errors":["`)
			endless(w, r)
		},
		"failure": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			endless(w, r)
		},
		"not found": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			endless(w, r)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusFound)
			endless(w, r)
		},
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("A", 1<<20))
		},
		"one byte more": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"data":{"plaintext":"`+strings.Repeat("A", 1<<20-24)+`"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := inVaultsPlace(t, &vaultkek.Options{Timeout: time.Minute}, answer)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := k.Unwrap(t.Context(), idA, []byte("vault:v1:AAAA"))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, keys.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it is not the length that ends it: %v", err)
			}
			if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 48 {
				t.Errorf("%d MiB were allocated", n)
			}
		})
	}
}

// trickling are the options for an answer that does not end.
var trickling = &vaultkek.Options{Timeout: 100 * time.Millisecond, MaxRetries: -1}

// TestAnAnswerThatTricklesEndsWithTheTimeout.
func TestAnAnswerThatTricklesEndsWithTheTimeout(t *testing.T) {
	server := httptest.NewServer(vaultsPlace(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"data":{"plaintext":"`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	k, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("s.secret-token"), trickling)
	for errors.Is(err, keys.ErrUnavailable) { // a machine that is busy does not answer in that time either
		k, err = vaultkek.Open(t.Context(), server.URL, vaultkek.Token("s.secret-token"), trickling)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	for call, err := range everyCall(t.Context(), k) {
		if !errors.Is(err, keys.ErrUnavailable) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// TestALargestAnswerIsRead: the bound is for what is too much, not for what is much.
func TestALargestAnswerIsRead(t *testing.T) {
	k := inVaultsPlace(t, &vaultkek.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"data":{"plaintext":"`+strings.Repeat("A", 1<<20-28)+`"}}`)
	})
	got, err := k.Unwrap(t.Context(), idA, []byte("vault:v1:AAAA"))
	if err != nil || len(got) != (1<<20-28)/4*3 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
