package vaultkek

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// maxBatchBytes bounds what is sent by one batch, in bytes of wrapped keysets, so that the answer stays below maxAnswer: it is
// about as long, with at most 100 bytes more for each item. A keyset is about 300 bytes.
const maxBatchBytes = maxAnswer / 2

// Group implements [keys.BatchKEK]: all tenants can be asked about together.
func (s *Shared) Group(context.Context, keys.Wrapped) string { return s.name() }

// UnwrapBatch implements [keys.BatchKEK] by Transit's batch_input, which takes a context for each item.
func (s *Shared) UnwrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return s.batch(ctx, "unwrap", "decrypt", all, func(r *batchResult) ([]byte, bool) { return r.Plaintext, len(r.Plaintext) > 0 })
}

// RewrapBatch implements [keys.BatchKEK] likewise. No plaintext leaves Vault.
func (s *Shared) RewrapBatch(ctx context.Context, all []keys.Wrapped) ([]keys.Result, error) {
	return s.batch(ctx, "rewrap", "rewrap", all, func(r *batchResult) ([]byte, bool) {
		return s.marked([]byte(r.Ciphertext)), strings.HasPrefix(r.Ciphertext, "vault:v")
	})
}

// batchItem is one of Transit's batch_input, and batchResult one of its batch_results.
type batchItem struct {
	Ciphertext string `json:"ciphertext"`
	Context    string `json:"context"`
	Reference  string `json:"reference"` // which Vault gives back with the result
}

type batchResult struct {
	Plaintext  []byte `json:"plaintext"` // base64, in the standard encoding
	Ciphertext string `json:"ciphertext"`
	Error      string `json:"error"`
	Reference  string `json:"reference"`
}

// batch asks about all tenants, by as few calls as their size allows.
func (s *Shared) batch(ctx context.Context, what, operation string, all []keys.Wrapped, value func(*batchResult) ([]byte, bool)) ([]keys.Result, error) {
	if len(all) > keys.MaxBatch {
		return nil, fmt.Errorf("vaultkek: %s: a batch of %d is over the limit of %d", what, len(all), keys.MaxBatch)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.derived(ctx); err != nil {
		return nil, err
	}
	results := make([]keys.Result, len(all))
	var items []batchItem
	size := 0
	send := func() error {
		if len(items) == 0 {
			return nil
		}
		err := s.send(ctx, what, operation, items, all, results, value)
		items, size = nil, 0
		return err
	}
	for i, w := range all {
		var inner string
		err := check(ctx, w.Tenant)
		if err == nil {
			inner, err = s.unmarked(w.Tenant, w.Bytes)
		}
		if err == nil && len(inner) > maxBatchBytes {
			err = fmt.Errorf("vaultkek: tenant %s: %w: %d bytes are no wrapped keyset", w.Tenant, keys.ErrIntegrity, len(inner))
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		if size+len(inner) > maxBatchBytes {
			if err := send(); err != nil {
				return nil, err
			}
		}
		// The tenant is in the reference, so that a result of another call is none of this one.
		items = append(items, batchItem{inner, derivation(w.Tenant), reference(i, w.Tenant)})
		size += len(inner)
	}
	if err := send(); err != nil {
		return nil, err
	}
	return results, nil
}

func reference(i int, id tenant.ID) string { return strconv.Itoa(i) + ":" + id.Segment() }

// send does one call. The results are matched by their references, and an answer that does not have exactly one for each item,
// in order, is none: what is right in it cannot be told.
func (s *Shared) send(ctx context.Context, what, operation string, items []batchItem, all []keys.Wrapped, results []keys.Result, value func(*batchResult) ([]byte, bool)) error {
	path := s.path(operation)
	var answer struct {
		Results []batchResult `json:"batch_results"`
	}
	err := s.vault.writeBatch(ctx, path, items, &answer)
	if err == nil && len(answer.Results) != len(items) {
		err = errShape
	}
	for i := range answer.Results {
		if err == nil && answer.Results[i].Reference != items[i].Reference {
			err = errShape
		}
	}
	if err != nil {
		return s.failed(ctx, fmt.Sprintf("%s for %d tenants", what, len(items)), err, path, "update")
	}
	for i := range answer.Results {
		number, _, _ := strings.Cut(items[i].Reference, ":")
		n, _ := strconv.Atoi(number)
		id, r := all[n].Tenant, &answer.Results[i]
		switch bytes, ok := value(r); {
		case r.Error != "":
			results[n].Err = s.itemError(what, id, r.Error, path)
		case ok:
			results[n].Bytes = bytes
		default:
			results[n].Err = fmt.Errorf("%w: vaultkek: %s for tenant %s: Vault at %s, %s: %w", keys.ErrUnavailable, what, id, s.vault.client.Address(), path, errShape)
		}
	}
	return nil
}

// itemError describes an item that Vault refused. Its words are not repeated: they are about the item, which is secret where it
// is a plaintext.
func (s *Shared) itemError(what string, id tenant.ID, said, path string) error {
	where := fmt.Sprintf("vaultkek: %s for tenant %s: Vault at %s, %s", what, id, s.vault.client.Address(), path)
	for _, c := range []struct{ text, means string }{
		{"authentication failed", "it was not wrapped for this tenant with this key, or is damaged"},
		{"version", "the version of the key that wrapped it was disabled or destroyed, or never was"},
		{"invalid ciphertext", "it is none of Vault's ciphertexts"},
		{"could not decode", "it is none of Vault's ciphertexts"},
		{"missing ciphertext", "it is empty"},
	} {
		if strings.Contains(said, c.text) {
			return fmt.Errorf("%s: %w: %s", where, keys.ErrIntegrity, c.means)
		}
	}
	return fmt.Errorf("%s: it refused this tenant's among others, for a reason that is not known here", where)
}

// writeBatch sends a batch. Vault answers 400 where it refused every item, with the results all the same.
func (k *KEK) writeBatch(ctx context.Context, path string, items []batchItem, answer any) error {
	body, err := json.Marshal(map[string]any{"batch_input": items, "partial_failure_response_code": http.StatusOK})
	if err != nil {
		return errors.New("serialize the request")
	}
	return k.call(ctx, func(ctx context.Context) error {
		response, err := k.client.Logical().WriteRawWithContext(ctx, path, body)
		var refused *api.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest && !refused.RawError && len(refused.Errors) == 0 && response != nil {
			defer response.Body.Close()
			var m message
			if all, rerr := io.ReadAll(response.Body); rerr == nil && json.Unmarshal(all, &m) == nil && len(m.Data) > 0 && json.Unmarshal(m.Data, answer) == nil {
				return nil
			}
			return errShape
		}
		return finish(response, err, answer)
	})
}
