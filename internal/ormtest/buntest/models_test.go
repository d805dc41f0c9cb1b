package buntest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// The models have ordinary Go types for sealed columns, and neither the tenant column nor the blind indexes.

type patient struct {
	bun.BaseModel `bun:"table:patients,alias:p"`

	ID          int64      `bun:"id,pk,autoincrement"`
	Name        string     `bun:"name"`
	SSN         *string    `bun:"ssn"`
	Born        *time.Time `bun:"born"`
	Ward        string     `bun:"ward,nullzero,default:'entry'"`
	CountryCode *string    `bun:"country_code"`
	DeletedAt   time.Time  `bun:"deleted_at,soft_delete,nullzero"`

	Country *country `bun:"rel:belongs-to,join:country_code=code"`
	Visits  []*visit `bun:"rel:has-many,join:id=patient_id"`
	Tags    []tag    `bun:"m2m:patient_tags,join:Patient=Tag"`
}

type visit struct {
	bun.BaseModel `bun:"table:visits,alias:v"`

	ID        int64    `bun:"id,pk,autoincrement"`
	PatientID int64    `bun:"patient_id"`
	Room      string   `bun:"room"`
	Note      *string  `bun:"note"`
	Cost      *string  `bun:"cost"`
	Patient   *patient `bun:"rel:belongs-to,join:patient_id=id"`
}

type country struct {
	bun.BaseModel `bun:"table:countries"`

	Code  string `bun:"code,pk"`
	Title string `bun:"title"`
}

type tag struct {
	bun.BaseModel `bun:"table:tags"`

	ID    int64  `bun:"id,pk,autoincrement"`
	Label string `bun:"label"`
}

type patientTag struct {
	bun.BaseModel `bun:"table:patient_tags"`

	PatientID int64    `bun:"patient_id,pk"`
	Patient   *patient `bun:"rel:belongs-to,join:patient_id=id"`
	TagID     int64    `bun:"tag_id,pk"`
	Tag       *tag     `bun:"rel:belongs-to,join:tag_id=id"`
}

type result struct {
	bun.BaseModel `bun:"table:results"`

	ID     int64           `bun:"id,pk"`
	Scan   []byte          `bun:"scan"`
	Count  int64           `bun:"count"`
	Level  float64         `bun:"level"`
	Urgent bool            `bun:"urgent"`
	At     time.Time       `bun:"at"`
	Day    time.Time       `bun:"day"`
	Amount string          `bun:"amount"`
	Doc    json.RawMessage `bun:"doc"` // a []byte would be written as a bytea literal
	Ref    string          `bun:"ref"`
}

var born = time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// open puts bun on a guarded database, and gives both tenants the same primary keys.
func open(t *testing.T) (*fixture.Clinic, *bun.DB) {
	t.Helper()
	c := fixture.New(t)
	db := bun.NewDB(c.DB, pgdialect.New())
	db.RegisterModel((*patientTag)(nil))
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		ctx := fixture.As(id)
		patients := []patient{
			{ID: 1, Name: own("Anna"), SSN: ptr(own("1")), Born: &born, Ward: "north", CountryCode: ptr("is")},
			{ID: 2, Name: own("Björn"), SSN: ptr(own("2")), Ward: "south"},
			{ID: 3, Name: own("Cleo 'x' \\ ?")},
		}
		_, err := db.NewInsert().Model(&patients).Exec(ctx)
		fixture.OK(t, err)
		visits := []visit{
			{ID: 10, PatientID: 1, Room: "r1", Note: ptr(own("note 10")), Cost: ptr("87654.75")},
			{ID: 11, PatientID: 1, Room: "r2", Note: ptr(own("note 11"))},
		}
		_, err = db.NewInsert().Model(&visits).Exec(ctx)
		fixture.OK(t, err)
		_, err = db.NewInsert().Model(&[]tag{{ID: 5, Label: "blue"}, {ID: 6, Label: "red"}}).Exec(ctx)
		fixture.OK(t, err)
		_, err = db.NewInsert().Model(&[]patientTag{{PatientID: 1, TagID: 5}, {PatientID: 1, TagID: 6}}).Exec(ctx)
		fixture.OK(t, err)
	}
	return c, db
}

func each(t *testing.T, c *fixture.Clinic, test func(t *testing.T, id tenant.ID, own func(string) string)) {
	t.Helper()
	for id, other := range map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A} {
		t.Run(id.String(), func(t *testing.T) {
			c.Untouched(t, other, func() {
				test(t, id, func(s string) string { return s + " of " + id.String() })
			})
		})
	}
}
