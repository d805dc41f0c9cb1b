package vaultkek_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// sharedOn is a provider on a server in Vault's place that answers every call but the look-up of the token in its own way.
func sharedOn(t *testing.T, answer http.HandlerFunc) *vaultkek.Shared {
	t.Helper()
	server := httptest.NewServer(vaultsPlace(answer))
	t.Cleanup(server.Close)
	return openShared(t, server.URL, "s.secret-token", "one", &vaultkek.Options{MaxRetries: -1})
}

// TestBatchAnswers: an answer that does not have exactly one result for each item, in its place, is none, for nobody; and what a
// single result says is that tenant's alone.
func TestBatchAnswers(t *testing.T) {
	type result = map[string]any
	ok := func(item map[string]string) result {
		return result{"plaintext": "b3BlbmVk", "ciphertext": "vault:v1:QUJD", "reference": item["reference"]}
	}
	for name, c := range map[string]struct {
		status  int
		results func(a, b map[string]string) []result
		whole   error // of the batch
		second  error // of the second item alone
	}{
		"right":              {200, func(a, b map[string]string) []result { return []result{ok(a), ok(b)} }, nil, nil},
		"too few":            {200, func(a, b map[string]string) []result { return []result{ok(a)} }, keys.ErrUnavailable, nil},
		"none":               {200, func(a, b map[string]string) []result { return nil }, keys.ErrUnavailable, nil},
		"too many":           {200, func(a, b map[string]string) []result { return []result{ok(a), ok(b), ok(b)} }, keys.ErrUnavailable, nil},
		"exchanged":          {200, func(a, b map[string]string) []result { return []result{ok(b), ok(a)} }, keys.ErrUnavailable, nil},
		"one twice":          {200, func(a, b map[string]string) []result { return []result{ok(a), ok(a)} }, keys.ErrUnavailable, nil},
		"without references": {200, func(a, b map[string]string) []result { return []result{{"plaintext": "eA=="}, {"plaintext": "eA=="}} }, keys.ErrUnavailable, nil},
		"a field missing":    {200, func(a, b map[string]string) []result { return []result{ok(a), {"reference": b["reference"]}} }, nil, keys.ErrUnavailable},
		"a field of another kind": {200, func(a, b map[string]string) []result {
			return []result{ok(a), {"plaintext": 7, "ciphertext": 7, "reference": b["reference"]}}
		}, keys.ErrUnavailable, nil},
		"an error that repeats a secret": {200, func(a, b map[string]string) []result {
			return []result{ok(a), {"error": "authentication failed: canary-plaintext", "reference": b["reference"]}}
		}, nil, keys.ErrIntegrity},
		"an unknown error that repeats a secret": {200, func(a, b map[string]string) []result {
			return []result{ok(a), {"error": "canary-plaintext", "reference": b["reference"]}}
		}, nil, errAny},
		"an error beside a value": {200, func(a, b map[string]string) []result {
			r := ok(b)
			r["error"] = "invalid ciphertext"
			return []result{ok(a), r}
		}, nil, keys.ErrIntegrity},
		"all refused, exchanged": {400, func(a, b map[string]string) []result {
			return []result{{"error": "x", "reference": b["reference"]}, {"error": "x", "reference": a["reference"]}}
		}, keys.ErrUnavailable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/keys/") {
					io.WriteString(w, `{"data":{"type":"aes256-gcm96","derived":true,"kdf":"hkdf_sha256","latest_version":1}}`)
					return
				}
				var asked struct {
					Items []map[string]string `json:"batch_input"`
				}
				if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.Items) != 2 {
					t.Errorf("asked %d, %v", len(asked.Items), err)
					return
				}
				w.WriteHeader(c.status)
				json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"batch_results": c.results(asked.Items[0], asked.Items[1])}})
			})
			s := sharedOn(t, server)
			all := []keys.Wrapped{{Tenant: idA, Bytes: []byte("derived:one:vault:v1:AAAA")}, {Tenant: idB, Bytes: []byte("derived:one:vault:v1:BBBB")}}
			for what, ask := range map[string]func() ([]keys.Result, error){
				"UnwrapBatch": func() ([]keys.Result, error) { return s.UnwrapBatch(t.Context(), all) },
				"RewrapBatch": func() ([]keys.Result, error) { return s.RewrapBatch(t.Context(), all) },
			} {
				results, err := ask()
				if c.whole != nil {
					wantErr(t, err, c.whole)
					wantText(t, err, []string{"s.secret-token"}, "transit/")
					continue
				}
				must(t, err)
				if len(results) != 2 || results[0].Err != nil || len(results[0].Bytes) == 0 {
					t.Fatalf("%s: %+v", what, results)
				}
				switch err := results[1].Err; {
				case c.second == nil:
					must(t, err)
				case c.second == errAny && err != nil && !errors.Is(err, keys.ErrIntegrity) && !errors.Is(err, keys.ErrNotFound):
					wantText(t, err, []string{"BBBB"}, "Bolt")
				default:
					wantErr(t, err, c.second)
					wantText(t, err, []string{"BBBB"}, "Bolt")
				}
				if c.second != nil && results[1].Bytes != nil {
					t.Errorf("%s: bytes beside an error", what)
				}
			}
		})
	}
}

var errAny = errors.New("any")

// TestWhatAnswersABatchInVaultsPlace is unavailable, for all, and repeats nothing.
func TestWhatAnswersABatchInVaultsPlace(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"nothing": {200, ""}, "a page": {200, "<html>canary-plaintext</html>"}, "no data": {200, `{"request_id":"x"}`}, "no results": {200, `{"data":{}}`},
		"null": {200, `{"data":{"batch_results":null}}`}, "no list": {200, `{"data":{"batch_results":"canary-plaintext"}}`}, "cut short": {200, `{"data":{"batch_results":[{"plaintext":"canary-plaintext`},
		"a page, bad request": {400, "<html>authentication failed canary-plaintext</html>"}, "JSON, bad request": {400, `{"message":"canary-plaintext"}`},
		"other data, bad request": {400, `{"data":"canary-plaintext"}`}, "sealed": {503, `{"errors":["Vault is sealed"]}`}, "too large": {200, `{"data":{"batch_results":["` + strings.Repeat("x", 1<<20) + `"]}}`},
		"moved": {307, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sharedOn(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/keys/") {
					io.WriteString(w, `{"data":{"type":"aes256-gcm96","derived":true,"kdf":"hkdf_sha256","latest_version":1}}`)
					return
				}
				w.WriteHeader(answer.status)
				io.WriteString(w, answer.body)
			})
			all := []keys.Wrapped{{Tenant: idA, Bytes: []byte("derived:one:vault:v1:AAAA")}}
			for _, err := range []error{second(s.UnwrapBatch(t.Context(), all)), second(s.RewrapBatch(t.Context(), all))} {
				wantErr(t, err, keys.ErrUnavailable)
				if errors.Is(err, keys.ErrIntegrity) || errors.Is(err, keys.ErrNotFound) {
					t.Errorf("%v", err)
				}
				wantText(t, err, []string{"s.secret-token", "AAAA"}, "transit/")
			}
		})
	}
}
