package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/tenant"
)

// Shredding makes the record a tombstone, and destroys the KEK then. Whoever makes a KEK, to provision the tenant or to move it to another
// provider, may have been stopped meanwhile, and make it when it is shredded: what that KEK wrapped cannot be stored any more, and nobody
// would look whether there is one. So it does itself. Where it looks and finds no tombstone, that one is yet to come, and so is the
// destruction of what was made.

// lookBack is the time for that, whether somebody still waits or not.
func (r *Keyring) lookBack(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*r.opts.Timeout)
}

// leftBehind destroys the KEK that may have been made for a tenant that was shredded meanwhile, and returns what there is to be said of an
// operation that failed for cause. Within is of lookBack.
func (r *Keyring) leftBehind(within context.Context, id tenant.ID, cause error) error {
	switch rec, err := r.stored(within, id); {
	case errors.Is(err, ErrNotFound), err == nil && rec.State != envelope.StateShredded:
		return cause
	case err != nil:
		return fmt.Errorf("%w; whether the tenant was shredded meanwhile is not known: if it was, repeat Keyring.Shred, since a KEK may have been made for it: %w", cause, err)
	}
	if _, err := r.destroyKEK(within, id); err != nil {
		return fmt.Errorf("%w; a KEK may have been made for tenant %s after it was shredded, and could not be destroyed: repeat Keyring.Shred: %w", cause, id, err)
	}
	return cause
}
