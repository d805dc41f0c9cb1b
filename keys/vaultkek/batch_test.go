package vaultkek_test

import (
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// TestABatchIsOfOneKey: what makes Transit's batch_input of no use where every tenant has a key of its own. Should a version of
// Vault's batch across keys, this says so.
func TestABatchIsOfOneKey(t *testing.T) {
	server := testenv.Vault(t)
	mount := server.EnableTransit(t)
	k := open(t, server.Addr, vaultkek.Token(server.RootToken), &vaultkek.Options{Mount: mount})
	ids := []tenant.ID{tenant.MustParse("a"), tenant.MustParse("b")}
	var batch []any
	for _, id := range ids {
		if err := k.Create(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		wrapped, err := k.Wrap(t.Context(), id, []byte("a root keyset"))
		if err != nil {
			t.Fatal(err)
		}
		// The name of the other key in the item is what a batch across keys would need.
		batch = append(batch, map[string]any{"ciphertext": string(wrapped), "name": "strongroom-" + id.Segment()})
	}
	for _, operation := range []string{"decrypt", "rewrap"} {
		answer, err := server.Client(t).Logical().WriteWithContext(t.Context(), mount+"/"+operation+"/strongroom-"+ids[0].Segment(),
			map[string]any{"batch_input": batch, "partial_failure_response_code": 200})
		if err != nil {
			t.Fatal(err)
		}
		results := answer.Data["batch_results"].([]any)
		own, other := results[0].(map[string]any), results[1].(map[string]any)
		if own["error"] != nil && own["error"] != "" {
			t.Errorf("%s: a value of the key that the request names: %v", operation, own["error"])
		}
		if text, _ := other["error"].(string); text == "" {
			t.Errorf("%s: a value of another key: %v", operation, other)
		}
	}
}
