package audit

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Opener opens what a [Sealer] of the same tenant sealed. One that is for a reviewer comes from Keyring.Review in package
// keys, which records who looks and why before it hands one out.
type Opener interface {
	// OpenDetails opens the sealed details of the event with this uid.
	OpenDetails(sealed []byte, uid string) ([]byte, error)
}

// Personal is what an event keeps sealed.
type Personal struct {
	Actor   string            `json:"actor,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// Reveal returns the actor and the details of an event that was read from a log. An event without any returns the zero
// value; [Entry.Truncated] may say why. An error of the opener is returned as it is: the keys are another tenant's, or
// those that sealed this event are gone.
func Reveal(e *Entry, o Opener) (Personal, error) {
	if len(e.Sealed) == 0 {
		return Personal{}, nil
	}
	if o == nil {
		return Personal{}, errors.New("audit: sealed details are opened with the tenant's keys; give an Opener")
	}
	plain, err := o.OpenDetails(e.Sealed, e.UID)
	if err != nil {
		return Personal{}, fmt.Errorf("audit: event %d: %w", e.Index, err)
	}
	var p Personal
	if err := json.Unmarshal(plain, &p); err != nil { // which repeats what it was given
		return Personal{}, fmt.Errorf("audit: event %d: its details opened, and are not as this package writes them", e.Index)
	}
	return p, nil
}
