package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// purposes are those whose keys an operator sees.
var purposes = []keys.Purpose{keys.PurposeData, keys.PurposeIndex, keys.PurposeBlobs, keys.PurposeNames, keys.PurposeAudit, keys.PurposePseudonym}

func statusCommand() command {
	return command{
		name: "status", args: "TENANT", most: 1, usage: "show a tenant's state, and with -keys its keys",
		about: `Shows the tenant's state as the store has it now. With -keys it shows the keys of each purpose, for which the
key-encryption key is needed once, and on Vault what is wrong with that, if anything.`,
		examples: []string{`status acme`, `status -keys -json acme`},
		flags:    []cli.Flag{&cli.BoolFlag{Name: "keys", Usage: "show the keys too"}},
		run:      runStatus,
	}
}

// statusShape is what status -json prints. Keys are there with -keys, but not of a tenant that is shredded.
type statusShape struct {
	Tenant string     `json:"tenant"`
	Status string     `json:"status"`
	Keys   []keyShape `json:"keys,omitempty"`
}

// keyShape is one key.
type keyShape struct {
	Purpose string `json:"purpose"`
	Key     uint32 `json:"key"`
	Status  string `json:"status,omitempty"` // next, seals, opens or disabled
}

func runStatus(ctx context.Context, c *call) error {
	ctx, id, s, err := c.begin(ctx, looking)
	if err != nil {
		return err
	}
	status, err := s.ring.StatusNow(ctx, id)
	if err != nil {
		return err
	}
	shape := statusShape{Tenant: id.String(), Status: string(status)}
	if c.Bool("keys") && status != keys.StatusShredded {
		if shape.Keys, err = s.keys(ctx, id, purposes); err != nil {
			return err
		}
		if err := s.checkKEK(ctx, id); err != nil {
			return err
		}
	}
	if c.json {
		return c.print(shape, "")
	}
	if err := c.print(nil, "%s is %s", id, status); err != nil || shape.Keys == nil {
		return err
	}
	return printKeys(c, shape.Keys)
}

// checkKEK tells whether a tenant's key at Vault, if it is there, is as it should be. The keys have been opened before.
func (s *session) checkKEK(ctx context.Context, id tenant.ID) error {
	switch v := s.vaultOf(id).(type) {
	case *vaultkek.KEK:
		return v.Check(ctx, id)
	case *vaultkek.Shared:
		return v.CheckSharedKey(ctx)
	}
	return nil
}

func printKeys(c *call, all []keyShape) error {
	out := c.table("PURPOSE", "KEY", "STATUS")
	for _, k := range all {
		if err := out.row(k, k.Purpose, fmt.Sprint(k.Key), k.Status); err != nil {
			return err
		}
	}
	return out.flush()
}

// keys lists a tenant's keys of some purposes.
func (s *session) keys(ctx context.Context, id tenant.ID, of []keys.Purpose) ([]keyShape, error) {
	out := []keyShape{}
	for _, p := range of {
		versions, err := s.ring.Versions(ctx, id, p)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			out = append(out, keyShape{string(p), v.ID, string(v.Status)})
		}
	}
	return out, nil
}
