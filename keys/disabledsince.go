package keys

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/tenant"
)

// A process that cannot reach the store, and serves stale, seals with a key that was disabled until its StaleLimit is over. A keyring
// remembers since when it has seen a key disabled, so that who cannot wait for that long calls again. It remembers the keyset as it is
// stored as well: one that was enabled in between is another. That another process has changed the keyset, as by a rotation, begins it
// anew: what that process found before it, an older record that was put back for one, nobody can tell any more.

// disabledKey is a key that was seen disabled.
type disabledKey struct {
	id      tenant.ID
	purpose Purpose
	key     uint32
}

type disabledSince struct {
	keyset [sha256.Size]byte // as it is stored
	at     time.Duration     // by the keyring's clock
}

// seenDisabled notes that a key is disabled in a keyset as it is stored, and returns since when it was.
func (r *Keyring) seenDisabled(k disabledKey, stored []byte) (at time.Duration) {
	now := disabledSince{sha256.Sum256(stored), r.opts.clock()}
	if seen, ok := r.disabled.Load(k); ok && seen.(disabledSince).keyset == now.keyset {
		return seen.(disabledSince).at
	}
	r.disabled.Store(k, now)
	return now.at
}

// stillDisabled notes that this keyring has put a keyset in the place of another, by a swap, so that nobody has changed anything in between:
// the keys that it has seen disabled in the one of before have been all the time, but for one that it was about.
func (r *Keyring) stillDisabled(id tenant.ID, p Purpose, before, now []byte, but uint32) {
	from, to := sha256.Sum256(before), sha256.Sum256(now)
	r.disabled.Range(func(k, v any) bool {
		about, seen := k.(disabledKey), v.(disabledSince)
		if about.id == id && about.purpose == p && about.key != but && seen.keyset == from {
			r.disabled.CompareAndSwap(k, v, disabledSince{to, seen.at})
		}
		return true
	})
}

// outlived returns once no process that serves stale seals with the key any more. Where ctx would end before, it says so at once.
func (r *Keyring) outlived(ctx context.Context, k disabledKey, stored []byte) error {
	left := r.seenDisabled(k, stored) + r.opts.StaleLimit + r.opts.StaleLimit/16 - r.opts.clock()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < left {
		return fmt.Errorf("%w: a process that cannot reach the store, and serves stale (Options.StaleLimit), may seal with it for another %v; call it again then, by this keyring",
			ErrKeyNeeded, left.Round(time.Second))
	}
	return r.pause(ctx, left)
}
