package main

import (
	"context"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/keys"
)

func shredCommand() command {
	return command{
		name: "shred", args: "TENANT", most: 1, usage: "destroy a tenant's keys for good",
		about: `Destroys the tenant's keys for good: what they sealed can never be read again, in backups neither. On a terminal the
tenant's name has to be typed once more; elsewhere -yes and -confirm have to be given. Rows and objects stay, unreadable:
"keyctl offboard" destroys the keys and deletes those too. After an error, repeat it.

Where tenants share a key-encryption key, that one is not destroyed: then backups of the store open until its versions are,
which "keyctl kek destroy" does.

Backups of the key-encryption keys are another matter: they have to be destroyed with them.`,
		examples: []string{`shred -reason "contract 4711 ended" acme`, `shred -reason "contract 4711 ended" -yes -confirm acme acme`},
		flags:    append(confirmFlags(), reasonFlag("required")),
		run:      runShred,
	}
}

// shreddedShape is what shred -json prints.
type shreddedShape struct {
	Command string     `json:"command"`
	Tenant  string     `json:"tenant"`
	Status  string     `json:"status"`
	At      time.Time  `json:"at,omitzero"` // when the record became a tombstone
	Keys    []keyShape `json:"keys"`        // that were destroyed, now or before
	Tried   bool       `json:"tried"`       // the record of before was tried afterwards, and did not open

	Shared []sharedVersionsShape `json:"shared,omitempty"`
}

// sharedVersionsShape is a key that tenants share, which was not destroyed for one of them.
type sharedVersionsShape struct {
	Name      string `json:"name"`
	Through   int    `json:"through"`   // the newest version that a backup of the record may need
	Destroyed bool   `json:"destroyed"` // since
}

// warning says what is left of a tenant; nothing where that is nothing.
func (s sharedVersionsShape) warning() string {
	if s.Destroyed {
		return ""
	}
	return fmt.Sprintf("\n  NOT destroyed is the key-encryption key that tenants share, %s: backups of the store open until its versions up to %d are: keyctl kek destroy -through %d", s.Name, s.Through, s.Through)
}

func runShred(ctx context.Context, c *call) error {
	reason, err := c.reason()
	if err != nil {
		return err
	}
	ctx, id, s, err := c.begin(ctx, changing)
	if err != nil {
		return err
	}
	status, err := s.ring.StatusNow(ctx, id)
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, s, id, fmt.Sprintf("This destroys the keys of a tenant that is %s: what they sealed can never be read again.", status)); err != nil {
		return err
	}
	c.resume = "repeat it: the keys may not be destroyed yet"
	report, err := s.ring.ShredWithReport(ctx, id, reason)
	if err != nil {
		return err
	}
	shape := shreddedShape{Command: c.Name, Tenant: id.String(), Status: string(keys.StatusShredded), At: report.At, Keys: []keyShape{}, Tried: report.Tried}
	for _, k := range report.Keys {
		shape.Keys = append(shape.Keys, keyShape{Purpose: string(k.Purpose), Key: k.ID})
	}
	text := fmt.Sprintf("shred: %s is shredded; %d keys are destroyed", id, len(shape.Keys))
	for _, k := range report.Shared {
		shape.Shared = append(shape.Shared, sharedVersionsShape(k))
		text += sharedVersionsShape(k).warning()
	}
	return c.print(shape, "%s", text)
}
