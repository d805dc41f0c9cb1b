package story

import (
	"errors"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
	"github.com/strongroom-go/strongroom/tenant"
)

// cast is the data, and the roles in it.
type cast struct {
	patients []data.Patient
	visits   []data.Visit

	north, south data.Patient // the same primary key, different people, with a value in every column
	southsOwn    data.Patient // whose primary key only South has
	sharedSSN    string       // a number of one person at North and of another at South
	sharedNorth  data.Patient
	sharedSouth  data.Patient
	southsSSN    string       // a number that only South has
	leaver       data.Patient // of North, whose rows are deleted
}

func newCast() (*cast, error) {
	c := &cast{}
	var err error
	if c.patients, err = data.Patients(); err != nil {
		return nil, err
	}
	if c.visits, err = data.Visits(); err != nil {
		return nil, err
	}
	byID, bySSN := map[int64]data.Patient{}, map[string]data.Patient{} // North's
	for _, p := range c.of(North) {
		byID[p.ID] = p
		if p.SSN.Valid {
			bySSN[p.SSN.V] = p
		}
	}
	for _, p := range c.of(South) {
		c.assign(p, byID, bySSN)
	}
	if c.north.ID == 0 || c.southsOwn.ID == 0 || c.sharedSSN == "" || c.southsSSN == "" || c.leaver.ID == 0 {
		return nil, errors.New("story: the data lacks somebody that the story is about; run go generate in examples/quickstart/data")
	}
	return c, nil
}

// assign gives a patient of South's the roles that fit and are free.
func (c *cast) assign(p data.Patient, northsByID map[int64]data.Patient, northsBySSN map[string]data.Patient) {
	namesake, taken := northsByID[p.ID]
	switch {
	case !taken && c.southsOwn.ID == 0:
		c.southsOwn = p
	case taken && complete(p) && complete(namesake) && p.Name != namesake.Name && c.north.ID == 0:
		c.north, c.south = namesake, p
	case taken && complete(namesake) && namesake.ID != c.north.ID && c.leaver.ID == 0:
		c.leaver = namesake
	}
	twin, shared := northsBySSN[p.SSN.V]
	switch {
	case !p.SSN.Valid:
	case !shared && c.southsSSN == "":
		c.southsSSN = p.SSN.V
	case shared && p.Name != twin.Name && p.ID != c.south.ID && twin.ID != c.leaver.ID && c.sharedSSN == "":
		c.sharedSSN, c.sharedNorth, c.sharedSouth = p.SSN.V, twin, p
	}
}

func complete(p data.Patient) bool {
	return p.SSN.Valid && p.Born.Valid && p.Insurer.Valid && p.Notes.Valid
}

func (c *cast) of(clinic tenant.ID) []data.Patient {
	var own []data.Patient
	for _, p := range c.patients {
		if p.Clinic == clinic.String() {
			own = append(own, p)
		}
	}
	return own
}

func (c *cast) visitsOf(clinic tenant.ID) []data.Visit {
	var own []data.Visit
	for _, v := range c.visits {
		if v.Clinic == clinic.String() {
			own = append(own, v)
		}
	}
	return own
}
