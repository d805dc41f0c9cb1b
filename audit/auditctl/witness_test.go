package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// TestWitness: the command's part; package witness has the protocol's tests.
func TestWitness(t *testing.T) {
	dir, key, _ := sample(t)
	skey, vkey, err := note.GenerateKey(nil, "witness.example/one")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosign.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	away := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var body strings.Builder
		if err := r.Write(&body); err != nil {
			t.Error(err)
		}
		text := body.String()
		text, _, _ = strings.Cut(text[strings.Index(text, "\n\n")+2:], "\n\n\u2014") // behind the proof, before the signature
		msg, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			t.Error(err)
		}
		w.Write(msg[strings.LastIndex(string(msg[:len(msg)-1]), "\n")+1:])
	}))
	defer server.Close()
	try(t, 2, "verify", "-key", key, "-witness", vkey, dir) // nothing is signed yet
	if out, _ := try(t, 0, "witness", "-url", server.URL, "-witness", vkey, "-key", key, dir); !strings.Contains(out, "witness.example/one signed") {
		t.Errorf("signed:\n%s", out)
	}
	if out, _ := try(t, 0, "verify", "-key", key, "-witness", vkey, dir); strings.Contains(out, "unpinned") || !strings.Contains(out, "0 events are behind") {
		t.Errorf("verified:\n%s", out)
	}
	page := filepath.Join(t.TempDir(), "page")
	try(t, 0, "report", "-o", page, "-key", key, "-witness", vkey, dir)
	if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), "witness.example/one signed") || !strings.Contains(string(data), "Every event in this report is as it was written") {
		t.Errorf("the page does not have the witness: %v", err)
	}
	try(t, 2, "report", "-o", page+"2", "-witness", vkey, dir)
	try(t, 2, "verify", "-witness", vkey, dir)
	try(t, 2, "witness", "-url", server.URL, dir)
	away = true
	try(t, 2, "witness", "-url", server.URL, "-witness", vkey, dir)
	kept, err := filepath.Glob(filepath.Join(dir, "witness", "*.note"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q, %v", kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	try(t, 1, "verify", "-key", key, "-witness", vkey, dir)
}
