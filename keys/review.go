package keys

import (
	"context"
	"errors"
	"fmt"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Review returns what opens the actors and details of the tenant's events (see [audit.Reveal]), for the reviewer that the
// context names ([tenant.NewContext]) and a reason, which must not be empty.
//
// It is an event key.reveal, durable before anything is handed out. A keyring without an audit trail hands nothing out,
// and neither does one that cannot record it. A suspended tenant can be reviewed; a shredded one cannot, by anybody. What
// was handed out opens events until the program lets it go, those that are recorded later too: ask anew for each review.
func (r *Keyring) Review(ctx context.Context, id tenant.ID, reason string) (audit.Opener, error) {
	switch a, err := tenant.FromContext(ctx); {
	case err != nil:
		return nil, fmt.Errorf("keys: a review is somebody's: %w", err)
	case a.Actor == "":
		return nil, errors.New("keys: a review is somebody's; set tenant.Access.Actor, it is recorded")
	case reason == "":
		return nil, errors.New("keys: events are reviewed for a reason only; say it, it is recorded")
	case r.opts.Audit == nil:
		return nil, errors.New("keys: events are reviewed on the record only; set Options.Audit")
	}
	if err := r.usable(ctx, id); err != nil {
		return nil, err
	}
	if err := checkReason(reason); err != nil {
		return nil, err
	}
	// AuditSealer would do with what is in the cache, however old: a tenant may have been shredded since.
	if _, err := r.Status(ctx, id); err != nil {
		return nil, fmt.Errorf("keys: review: %w", err)
	}
	sealer, err := r.AuditSealer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("keys: review: %w", err)
	}
	s := sealer.(*auditSealer)
	t, err := r.trail(audit.CodeKeyReveal, id, s, reason)
	if err != nil {
		return nil, err
	}
	if err := r.record(ctx, t.event(ctx, audit.Single, audit.Success)); err != nil {
		return nil, err
	}
	return opener{s}, nil
}

// opener opens, and can do nothing else that a sealer can.
type opener struct{ s *auditSealer }

func (o opener) OpenDetails(sealed []byte, uid string) ([]byte, error) {
	return o.s.OpenDetails(sealed, uid)
}
