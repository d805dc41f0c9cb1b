package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleOpenLog() {
	ctx := context.Background()
	parent, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "audit")

	log, err := audit.OpenLog(dir, nil)
	if err != nil {
		panic(err)
	}
	err = log.Record(ctx, &audit.Event{
		Code: audit.CodeQuery, Phase: audit.Intent, Status: audit.Success,
		Tenant: tenant.MustParse("clinic-7"), Actor: "dr.okafor", Purpose: "treatment",
		Store: "postgresql", Name: "clinic", Tables: []string{"patients"}, Rows: -1, Bytes: -1,
	})
	if err != nil {
		panic(err) // the access must not happen
	}
	pin, err := log.Checkpoint(ctx) // to be kept where nobody who can write the log can write
	if err != nil {
		panic(err)
	}
	if err := log.Close(); err != nil {
		panic(err)
	}

	key := log.Verifier() // in earnest, from where the pin is kept
	head, err := audit.ParseCheckpoint(pin, []string{key})
	if err != nil {
		panic(err)
	}
	report, err := audit.Verify(ctx, dir, &audit.VerifyOptions{Verifiers: []string{key}, Pins: []audit.TreeHead{head}})
	if err != nil {
		panic(err) // wraps audit.ErrTampered where the log is not what was recorded
	}
	fmt.Println("sealed:", report.Sealed, "unsealed:", report.Unsealed, "pins:", report.Pins)
	for e, err := range audit.Read(ctx, dir, &audit.Filter{Tenant: tenant.MustParse("clinic-7"), Code: "sql."}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Index, e.Code, e.Phase, e.Status, e.Tenant, e.Purpose, e.Tables)
	}
	// Output:
	// sealed: 4 unsealed: 0 pins: 1
	// 1 sql.query intent success clinic-7 treatment [patients]
}
