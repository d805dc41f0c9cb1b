package blobs

import (
	"context"

	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/gate"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
)

// sealedWith are the keys that an object is being sealed with, which takes as long as the caller likes: meanwhile they may have
// been rotated, found to be needed by nothing, as the object is not there yet, disabled, and destroyed.
type sealedWith struct {
	pass          *gate.Pass // of the write
	data, content uint32
}

// errRetired means that an object would be sealed, or is, with a key that is disabled or destroyed.
var errRetired = &codedError{gcerrors.Unknown, "the key was taken away",
	"blobs: a key that seals the object was disabled or destroyed while it was being written; write it again"}

// inUse returns errRetired unless the object can be opened by now. It is asked before the object comes to be, and again
// afterwards: where the keys of then have not lost one that sealed it, who destroys that one later counts the object
// before. See keys.Keyring.DisableKey, which counts when all have seen the key disabled, or rotated, for SuspendWithin.
func (s *sealedWith) inUse(ctx context.Context) error {
	k, err := s.pass.Current(ctx)
	if err != nil {
		return err
	}
	if _, ok := k.BlobsByID(s.content); !ok || !k.HasDataKey(s.data) || k.DataKeyDisabled(s.data) {
		return errRetired
	}
	return nil
}

func newSealedWith(pass *gate.Pass, k tenantkeys.Keys) *sealedWith {
	return &sealedWith{pass, k.DataKeyID(), k.BlobKeyID()}
}
