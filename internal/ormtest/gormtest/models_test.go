package gormtest

import (
	"strings"
	"testing"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// The models have ordinary Go types for sealed columns, and neither the tenant column nor the blind indexes.

type Patient struct {
	ID          int64
	Name        string
	SSN         *string `gorm:"column:ssn"`
	Born        *time.Time
	Ward        string `gorm:"default:entry"`
	CountryCode *string
	Country     *Country `gorm:"foreignKey:CountryCode;references:Code"`
	Visits      []Visit
	Tags        []Tag `gorm:"many2many:patient_tags"`
	CreatedAt   time.Time
	UpdatedAt   time.Time
	DeletedAt   gorm.DeletedAt

	shout string // set by the hook AfterFind
}

type Visit struct {
	ID        int64
	PatientID int64
	Patient   *Patient
	Room      string
	Note      *string
	Cost      *string
}

type Tag struct {
	ID    int64
	Label string
}

type Country struct {
	Code  string `gorm:"primaryKey"`
	Title string
}

// BeforeCreate and AfterFind see plaintexts: they run between the application and the guard.
func (p *Patient) BeforeCreate(*gorm.DB) error {
	p.Name = strings.TrimSuffix(p.Name, " (draft)")
	return nil
}

func (p *Patient) AfterFind(*gorm.DB) error {
	p.shout = strings.ToUpper(p.Name)
	return nil
}

// open puts GORM on a guarded database.
func open(t *testing.T, config gorm.Config) (*fixture.Clinic, *gorm.DB) {
	t.Helper()
	c := fixture.New(t)
	config.Logger = logger.Discard
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: c.DB}), &config)
	fixture.OK(t, err)
	return c, db
}

// as is the handle of one tenant's request.
func as(db *gorm.DB, id tenant.ID) *gorm.DB { return db.WithContext(fixture.As(id)) }

func ptr[T any](v T) *T { return &v }

var born = time.Date(1950, 3, 14, 0, 0, 0, 0, time.UTC)

// seed gives both tenants patients 1, 2 and 3 with visits 10 and 11 of patient 1, by the same calls.
func seed(t *testing.T, db *gorm.DB) {
	t.Helper()
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		own := func(s string) string { return s + " of " + id.String() }
		fixture.OK(t, as(db, id).Create([]*Patient{
			{ID: 1, Name: own("Anna"), SSN: ptr(own("1")), Born: &born, Ward: "north", CountryCode: ptr("is"), Visits: []Visit{
				{ID: 10, Room: "r1", Note: ptr(own("note 10")), Cost: ptr("87654.75")},
				{ID: 11, Room: "r2", Note: ptr(own("note 11"))},
			}},
			{ID: 2, Name: own("Björn"), SSN: ptr(own("2"))},
			{ID: 3, Name: own("Cleo")},
		}).Error)
	}
}

// each runs a test for either tenant, and sees to it that the other's rows stay as they are.
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
