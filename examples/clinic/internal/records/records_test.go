package records

import (
	"errors"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/storagetest"
	"github.com/strongroom-go/strongroom/tenant"
)

var ada = Patient{ID: "p1", Name: "Ada Byrne", Born: "1947-11-03", Insurer: "Meridian", Notes: "penicillin", Admitted: time.UnixMilli(1_700_000_000_000).UTC()}

var first = Visit{ID: "v1", Day: time.UnixMilli(1_700_000_000_000).UTC(), Ward: "cardiology", Finding: "sinus rhythm"}

// TestIsolation runs the isolation suite on this service's schema and on all of its statements: two clinics with the same
// ids and the same people, and nothing of the one shows at the other.
func TestIsolation(t *testing.T) {
	e := storagetest.New(t, Schema, Tables(dialect.SQLite)...)
	storagetest.Run(t, suite(e))
}

func suite(e *storagetest.Env) storagetest.Suite {
	born := time.Date(1947, 11, 3, 0, 0, 0, 0, time.UTC)
	patient := func(id string) storagetest.Statement {
		return storagetest.Statement{SQL: insertPatient, ArgsFor: func(clinic tenant.ID) []any {
			return []any{id, "Ada of " + clinic.String(), born, "Meridian", "notes of " + clinic.String(), int64(1)}
		}}
	}
	scan := func(id string) storagetest.Statement {
		return storagetest.Statement{SQL: insertScan, ArgsFor: func(clinic tenant.ID) []any {
			return []any{id, "p1", "image/png", "knee of " + clinic.String(), int64(1)}
		}}
	}
	visit := func(id, patient string) storagetest.Statement {
		return storagetest.Statement{SQL: insertVisit, Args: []any{id, patient, int64(1), "cardiology", "sinus rhythm"}, Fails: patient == "p9"}
	}
	return storagetest.Suite{
		DB: e.DB, Schema: Schema, Keys: e.Keys, Raw: e.Raw, Trail: e.Trail, Bucket: e.Bucket, RawBucket: e.RawBucket,
		Fill: []storagetest.Statement{patient("p1"), patient("p2"), visit("v1", "p1"), scan("s1")},
		Statements: []storagetest.Statement{
			{SQL: recentPatients},
			{SQL: namedPatients, ArgsFor: func(clinic tenant.ID) []any { return []any{"ada of " + clinic.String()} }},
			{SQL: onePatient, Args: []any{"p1"}},
			{SQL: patientVisits, Args: []any{"p1"}},
			{SQL: patientScans, Args: []any{"p1"}},
			{SQL: wardDays},
			patient("p3"), visit("v2", "p2"), scan("s2"),
			visit("v3", "p9"), // of a patient that neither has
		},
	}
}

func TestStore(t *testing.T) {
	e := storagetest.New(t, Schema, Tables(dialect.SQLite)...)
	s, harbor, hillside := Store{e.DB}, e.As("harbor"), e.As("hillside")
	if err := s.Admit(harbor, ada, first); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Patient(harbor, "p1"); err != nil || got != ada {
		t.Errorf("%+v, %v", got, err)
	}
	if found, err := s.Named(harbor, " ADA byrne"); err != nil || len(found) != 1 || found[0].ID != "p1" || found[0].Notes != "" {
		t.Errorf("%+v, %v", found, err)
	}
	if visits, err := s.Visits(harbor, "p1"); err != nil || len(visits) != 1 || visits[0] != first {
		t.Errorf("%+v, %v", visits, err)
	}
	scan := Scan{ID: "s1", Patient: "p1", ContentType: "image/png", Title: "knee", Taken: first.Day}
	if err := s.AddScan(harbor, scan); err != nil {
		t.Fatal(err)
	}
	if scans, err := s.Scans(harbor, "p1"); err != nil || len(scans) != 1 || scans[0] != scan {
		t.Errorf("%+v, %v", scans, err)
	}
	if wards, err := s.Wards(harbor); err != nil || len(wards) != 1 || wards[0] != (Ward{"cardiology", 1}) {
		t.Errorf("%+v, %v", wards, err)
	}

	// The other clinic has none of it, may have the same ids, and cannot hang a visit on a patient of the first.
	if _, err := s.Patient(hillside, "p1"); !errors.Is(err, ErrAbsent) {
		t.Errorf("hillside opens a patient of harbor's: %v", err)
	}
	if err := s.AddVisit(hillside, "p1", first); err == nil {
		t.Error("hillside adds a visit to a patient of harbor's")
	}
	if err := s.Admit(hillside, ada, first); err != nil {
		t.Error(err)
	}
}

// Of an admission that fails half way nothing stays.
func TestAdmitIsWhole(t *testing.T) {
	e := storagetest.New(t, Schema, Tables(dialect.SQLite)...)
	s, ctx := Store{e.DB}, e.As("harbor")
	if err := s.Admit(ctx, ada, first); err != nil {
		t.Fatal(err)
	}
	second := ada
	second.ID = "p2"
	if err := s.Admit(ctx, second, first); err == nil { // a visit of this id is there
		t.Fatal("the same visit was stored twice")
	}
	if _, err := s.Patient(ctx, "p2"); !errors.Is(err, ErrAbsent) {
		t.Errorf("a patient without a visit is there: %v", err)
	}
	second.Born = "yesterday"
	if err := s.Admit(ctx, second, Visit{ID: "v2"}); !errors.As(err, new(*InvalidError)) {
		t.Errorf("%v", err)
	}
}
