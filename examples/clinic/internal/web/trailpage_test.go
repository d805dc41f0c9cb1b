package web

import (
	"testing"

	"github.com/strongroom-go/strongroom/audit"
)

// TestNobodyHidesBehindAnothersRequest: a client chooses its request's id, and may choose one that it has seen in another's hands.
func TestNobodyHidesBehindAnothersRequest(t *testing.T) {
	const id = "0191c2a4-0000-4000-8000-000000000001"
	read := func(clinic, actor, purpose, request, correlation string) audit.Entry {
		return audit.Entry{Code: audit.CodeQuery, Phase: audit.Outcome, Status: audit.Success, Tenant: clinic, Actor: actor, Purpose: purpose,
			Request: request, Correlation: correlation, UID: correlation, Rows: 1}
	}
	got := cards([]audit.Entry{
		read("north", "actor-1", "treatment", id, "a"),
		read("south", "actor-2", "treatment", id, "b"),
		read("north", "actor-3", "treatment", id, "c"),
		read("north", "actor-1", "billing", id, "d"),
		read("north", "actor-1", "treatment", "scan "+id, "e"), // a token's, of the first
	})
	if len(got) != 4 {
		t.Fatalf("%d cards of four requests", len(got))
	}
	for i, want := range []card{
		{Clinic: "north", Actor: "actor-1", Purpose: "billing", Lines: make([]line, 1)},
		{Clinic: "north", Actor: "actor-3", Purpose: "treatment", Lines: make([]line, 1)},
		{Clinic: "south", Actor: "actor-2", Purpose: "treatment", Lines: make([]line, 1)},
		{Clinic: "north", Actor: "actor-1", Purpose: "treatment", Lines: make([]line, 2)},
	} {
		if c := got[i]; c.Clinic != want.Clinic || c.Actor != want.Actor || c.Purpose != want.Purpose || len(c.Lines) != len(want.Lines) {
			t.Errorf("card %d is %+v, want %+v", i, *c, want)
		}
	}
}
