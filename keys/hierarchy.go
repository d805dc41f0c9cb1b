package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// The purposes of keysets, in the ascending order in which records hold them.
const (
	purposeAudit     = "audit"     // AES256-GCM: sealed details of audit events
	purposeBlobs     = "blobs"     // AES256-GCM-HKDF streaming: objects
	purposeData      = "data"      // AES256-GCM: sealed columns, attributes of objects
	purposeIndex     = "index"     // AES-CMAC PRF: blind indexes
	purposeNames     = "names"     // AES256-SIV: names of objects; not in the records of earlier versions
	purposePseudonym = "pseudonym" // AES-CMAC PRF: actors in audit events
)

// newRecord makes a tenant's keys and returns the record that holds them.
func (r *Keyring) newRecord(ctx context.Context, id tenant.ID) (*envelope.Record, error) {
	rootParams, err := dataParameters()
	if err != nil {
		return nil, err
	}
	handle, err := newKeyset(rootParams)
	if err != nil {
		return nil, err
	}
	root, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("keys: make the root keyset: %w", err)
	}
	rec := &envelope.Record{Tenant: id, Keyring: r.opts.Label, State: envelope.StateActive, RootVersion: 1}
	if rec.WrappedRoot, err = r.wrapRoot(ctx, rec, handle); err != nil {
		return nil, err
	}
	handles := map[string]*keyset.Handle{}
	for _, purpose := range purposes() {
		if handles[purpose], err = newPurposeKeyset(purpose); err != nil {
			return nil, err
		}
	}
	return rec, bind(root, rec, handles)
}

// purposes returns every purpose, ascending.
func purposes() []string {
	return []string{purposeAudit, purposeBlobs, purposeData, purposeIndex, purposeNames, purposePseudonym}
}

func newPurposeKeyset(purpose string) (*keyset.Handle, error) {
	params, err := parametersOf(purpose)
	if err != nil {
		return nil, err
	}
	return newKeyset(params)
}

// bind puts the keysets of every purpose into a record, each bound to all: whoever can write to the store cannot take
// one away and have the others open.
func bind(root tink.AEAD, rec *envelope.Record, handles map[string]*keyset.Handle) error {
	rec.Format, rec.Keysets = envelope.Bound, nil
	for _, purpose := range purposes() {
		rec.Keysets = append(rec.Keysets, envelope.Keyset{Purpose: purpose})
	}
	for i := range rec.Keysets {
		k := &rec.Keysets[i]
		if handles[k.Purpose] == nil {
			return fmt.Errorf("%w: the record of tenant %s has no keyset %q", ErrIntegrity, rec.Tenant, k.Purpose)
		}
		var err error
		if k.Encrypted, err = encryptKeyset(root, rec, k.Purpose, handles[k.Purpose]); err != nil {
			return err
		}
	}
	return nil
}

func newKeyset(params key.Parameters) (*keyset.Handle, error) {
	m := keyset.NewManager()
	id, err := m.AddNewKeyFromParameters(params)
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: make a keyset: %w", err)
	}
	return m.Handle()
}

func encryptKeyset(root tink.AEAD, rec *envelope.Record, purpose string, h *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&out), root, rec.KeysetAD(nil, purpose)); err != nil {
		return nil, fmt.Errorf("keys: encrypt the keyset %q of tenant %s: %w", purpose, rec.Tenant, err)
	}
	return out.Bytes(), nil
}

// wrapRoot has the KEK provider wrap a root keyset together with its identity.
func (r *Keyring) wrapRoot(ctx context.Context, rec *envelope.Record, root *keyset.Handle) ([]byte, error) {
	var clear bytes.Buffer
	// The keyset is in the clear only inside the payload, which goes nowhere but to the KEK provider.
	if err := insecurecleartextkeyset.Write(root, keyset.NewBinaryWriter(&clear)); err != nil {
		return nil, fmt.Errorf("keys: serialize the root keyset of tenant %s: %w", rec.Tenant, err)
	}
	payload := envelope.AppendRoot(nil, &envelope.Root{Tenant: rec.Tenant, Keyring: rec.Keyring, Version: rec.RootVersion, Keyset: clear.Bytes()})
	defer clearBytes(payload, clear.Bytes())
	wrapped, err := r.kek.Wrap(ctx, rec.Tenant, payload)
	if err != nil {
		return nil, fmt.Errorf("keys: wrap the root keyset of tenant %s: %w", rec.Tenant, err)
	}
	return wrapped, nil
}

// unwrapRoot is the one KEK call that opens a tenant.
func (r *Keyring) unwrapRoot(ctx context.Context, rec *envelope.Record) (tink.AEAD, error) {
	return rootOf(rec, payloadOf(r.kek.Unwrap(ctx, rec.Tenant, rec.WrappedRoot)))
}

// payloadOf is what a KEK provider unwrapped.
func payloadOf(b []byte, err error) Result { return Result{b, err} }

// rootOf opens what the KEK provider unwrapped of the record. It refuses a root keyset that is not this record's.
func rootOf(rec *envelope.Record, unwrapped Result) (tink.AEAD, error) {
	payload, err := unwrapped.Bytes, unwrapped.Err
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("keys: unwrap the root keyset of tenant %s: the KEK is gone though the record is there; was it destroyed, or is this another KEK provider? %w", rec.Tenant, err)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: unwrap the root keyset of tenant %s: %w", rec.Tenant, err)
	}
	defer clearBytes(payload)
	root, err := envelope.ParseRoot(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: the root keyset of tenant %s: %w", ErrIntegrity, rec.Tenant, err)
	}
	if root.Tenant != rec.Tenant || root.Keyring != rec.Keyring || root.Version != rec.RootVersion {
		return nil, fmt.Errorf("%w: the root keyset found for tenant %s was wrapped for another tenant, keyring or version", ErrIntegrity, rec.Tenant)
	}
	handle, err := insecurecleartextkeyset.Read(keysetBytes(root.Keyset))
	if err != nil {
		// Tink's error is left out: it has seen the keyset in the clear.
		return nil, fmt.Errorf("%w: the root keyset of tenant %s is no Tink keyset", ErrIntegrity, rec.Tenant)
	}
	primitive, err := newAEAD(handle)
	if err != nil {
		return nil, fmt.Errorf("%w: the root keyset of tenant %s: %w", ErrIntegrity, rec.Tenant, err)
	}
	return primitive, nil
}

// decryptKeyset returns the handle of one purpose's keyset.
func decryptKeyset(root tink.AEAD, rec *envelope.Record, purpose string) (*keyset.Handle, error) {
	for _, k := range rec.Keysets {
		if k.Purpose != purpose {
			continue
		}
		h, err := keyset.ReadWithAssociatedData(keysetBytes(k.Encrypted), root, rec.KeysetAD(nil, purpose))
		if err != nil {
			return nil, fmt.Errorf("%w: the keyset %q of tenant %s does not open under its root", ErrIntegrity, purpose, rec.Tenant)
		}
		return h, nil
	}
	return nil, fmt.Errorf("%w: the record of tenant %s has no keyset %q", ErrIntegrity, rec.Tenant, purpose)
}

// keysetBytes is a serialized keyset as a [keyset.Reader]: Tink's own binary reader, without copying the bytes first.
type keysetBytes []byte

// Read implements [keyset.Reader].
func (b keysetBytes) Read() (*tinkpb.Keyset, error) {
	ks := new(tinkpb.Keyset)
	return ks, proto.Unmarshal(b, ks)
}

// ReadEncrypted implements [keyset.Reader].
func (b keysetBytes) ReadEncrypted() (*tinkpb.EncryptedKeyset, error) {
	ks := new(tinkpb.EncryptedKeyset)
	return ks, proto.Unmarshal(b, ks)
}

// clearBytes overwrites key material that is not needed any more, as far as Go lets us reach it.
func clearBytes(all ...[]byte) {
	for _, b := range all {
		clear(b)
	}
}
