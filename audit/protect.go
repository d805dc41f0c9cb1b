package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// private is what an event holds of a person, in the form in which it may be written.
type private struct {
	pseudonym string
	sealed    []byte
	missing   bool // something could not be sealed and is left out
}

// protect turns the personal parts of e into a pseudonym and a ciphertext. A failing Sealer refuses an Intent; it
// never keeps a denial, an outcome or an alert out of the log. Its error is withheld: it may hold what it was given.
func (n *encoder) protect(e *Event, uid []byte) (private, error) {
	p, err := seal(e, uid)
	if err != nil && e.Phase == Intent {
		return private{}, fmt.Errorf("%w: a %s intent: %w", ErrUnavailable, e.Code, err)
	}
	if err != nil {
		p = private{missing: true}
	}
	if p.pseudonym == "" && e.Actor != "" {
		if p.pseudonym, err = n.pseudonym(e.Tenant, e.Actor); err != nil {
			return private{}, fmt.Errorf("%w: the log's own key makes no pseudonym for a %s event", ErrUnavailable, e.Code)
		}
	}
	return p, nil
}

func seal(e *Event, uid []byte) (p private, err error) {
	if e.Sealer == nil {
		return private{missing: len(e.Details) > 0}, nil
	}
	if e.Actor != "" {
		p.pseudonym, err = e.Sealer.Pseudonym(e.Actor)
		if err != nil || p.pseudonym == "" || len(p.pseudonym) > maxText || shows(p.pseudonym, e.Actor) {
			return private{}, errors.New("the Sealer made no pseudonym; see whether the tenant's audit keys are in order")
		}
	}
	if e.Actor == "" && len(e.Details) == 0 {
		return p, nil
	}
	plain, err := appendDetails(e)
	if err != nil {
		return private{}, err
	}
	if p.sealed, err = e.Sealer.SealDetails(plain, string(uid)); err != nil || len(p.sealed) == 0 || len(p.sealed) > maxSealed {
		return private{}, errors.New("the Sealer did not seal the details; see whether the tenant's audit keys are in order")
	}
	return p, nil
}

// shows tells whether a pseudonym gives its actor away. A short actor may turn up in random text by chance.
func shows(pseudonym, actor string) bool {
	return pseudonym == actor || len(actor) >= 8 && strings.Contains(pseudonym, actor)
}

// appendDetails returns what is sealed: see [Sealer].
func appendDetails(e *Event) ([]byte, error) {
	size := 0
	for k, v := range e.Details {
		size += len(k) + len(v)
	}
	if size+len(e.Actor) > maxDetails {
		return nil, fmt.Errorf("its actor and details have %d bytes, over the limit of %d", size+len(e.Actor), maxDetails)
	}
	plain := append(make([]byte, 0, size+len(e.Actor)+64), '{')
	if e.Actor != "" {
		plain = appendString(append(plain, `"actor":`...), e.Actor)
	}
	if len(e.Details) > 0 {
		details, err := json.Marshal(e.Details)
		if err != nil {
			return nil, errors.New("its details cannot be encoded")
		}
		if e.Actor != "" {
			plain = append(plain, ',')
		}
		plain = append(append(plain, `"details":`...), details...)
	}
	return append(plain, '}'), nil
}
