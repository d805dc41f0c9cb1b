package data_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
)

// TestDataIsHard makes sure that the data still has what makes it a test: two clinics that agree in keys and numbers,
// NULLs, many scripts, and fields that a careless reader of CSV or builder of SQL would break.
func TestDataIsHard(t *testing.T) {
	patients, err := data.Patients()
	if err != nil {
		t.Fatal(err)
	}
	if len(patients) < 1000 {
		t.Errorf("%d patients, want 1,000 or more", len(patients))
	}
	type row struct {
		id  int64
		ssn string
	}
	byClinic, ids, ssns := map[string]int{}, map[string]map[int64]bool{}, map[string]map[string]bool{}
	found := map[string]int{}
	names := map[row]string{}
	note := func(what string, is bool) {
		if is {
			found[what]++
		}
	}
	for _, p := range patients {
		if byClinic[p.Clinic]++; ids[p.Clinic] == nil {
			ids[p.Clinic], ssns[p.Clinic] = map[int64]bool{}, map[string]bool{}
		}
		if ids[p.Clinic][p.ID] {
			t.Errorf("%s has patient %d twice", p.Clinic, p.ID)
		}
		ids[p.Clinic][p.ID] = true
		ssns[p.Clinic][p.SSN.V] = p.SSN.Valid
		names[row{p.ID, p.Clinic}] = p.Name
		if len(p.Name) < 8 {
			t.Errorf("%q is too short to be looked for among random bytes", p.Name)
		}
		note("NULL", !p.SSN.Valid)
		note("NULL", !p.Born.Valid)
		note("NULL", !p.Notes.Valid)
		note("long", len(p.Notes.V) > 2000)
		note("newline", strings.Contains(p.Notes.V, "\n"))
		note("quote", strings.Contains(p.Notes.V, `"`))
		note("apostrophe", strings.Contains(p.Name, "'"))
		note("not ASCII", strings.ContainsFunc(p.Name, func(r rune) bool { return r > 0x7f }))
	}
	for _, what := range []string{"NULL", "long", "newline", "quote", "apostrophe", "not ASCII"} {
		if found[what] < 5 {
			t.Errorf("%s: %d times", what, found[what])
		}
	}
	both, sameName := 0, 0
	for ssn := range ssns["clinic-north"] {
		if ssn != "" && ssns["clinic-south"][ssn] {
			both++
		}
	}
	for id := range ids["clinic-north"] {
		if !ids["clinic-south"][id] {
			t.Errorf("clinic-south has no patient %d", id)
		}
		if names[row{id, "clinic-north"}] == names[row{id, "clinic-south"}] {
			sameName++
		}
	}
	if len(byClinic) != 3 || both < 250 || sameName > 175 {
		t.Errorf("clinics %v, %d numbers in both, %d names under the same key in both", byClinic, both, sameName)
	}
}

func TestVisitsReferToPatients(t *testing.T) {
	patients, err := data.Patients()
	if err != nil {
		t.Fatal(err)
	}
	type key struct {
		clinic string
		id     int64
	}
	known := map[key]bool{}
	for _, p := range patients {
		known[key{p.Clinic, p.ID}] = true
	}
	visits, err := data.Visits()
	if err != nil {
		t.Fatal(err)
	}
	if len(visits) < 2000 {
		t.Errorf("%d visits, want 2,000 or more", len(visits))
	}
	for _, v := range visits {
		if !known[key{v.Clinic, v.PatientID}] || data.Departments[v.Department] == "" {
			t.Errorf("visit %d of %s refers to nothing", v.ID, v.Clinic)
		}
	}
}

func TestScansDiffer(t *testing.T) {
	a, err := io.ReadAll(data.Scan("a"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(data.Scan("b"))
	again, _ := io.ReadAll(data.Scan("a"))
	if len(a) != data.ScanSize || bytes.Equal(a, b) || !bytes.Equal(a, again) || !bytes.Contains(a, []byte(data.ScanMarker("a"))) {
		t.Error("a scan must have its size and marker, be the same each time, and differ from another clinic's")
	}
}
