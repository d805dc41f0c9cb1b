package gormtest

import (
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/tenant"
)

// tenantPatient is a model of an application that scopes by hand.
type tenantPatient struct {
	TenantID string
	ID       int64
	Name     string
}

func (tenantPatient) TableName() string { return "patients" }

func TestRefused(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	cases := []struct {
		name, reason string
		run          func(db *gorm.DB) error
	}{
		{"order by a sealed column", "ORDER BY a sealed column", func(db *gorm.DB) error {
			return db.Order("name").Find(&[]Patient{}).Error
		}},
		{"range", "comparison of a sealed column other than equality", func(db *gorm.DB) error {
			return db.Where("name > ?", "A").Find(&[]Patient{}).Error
		}},
		{"LIKE", "comparison of a sealed column other than equality", func(db *gorm.DB) error {
			return db.Where("name LIKE ?", "A%").Find(&[]Patient{}).Error
		}},
		{"not searchable", "comparison of a sealed column that is not searchable", func(db *gorm.DB) error {
			return db.Where("born = ?", born).Find(&[]Patient{}).Error
		}},
		{"group", "GROUP BY a sealed column", func(db *gorm.DB) error {
			return db.Model(&Patient{}).Select("name, count(*)").Group("name").Scan(&[]map[string]any{}).Error
		}},
		{"distinct", "DISTINCT over a sealed column", func(db *gorm.DB) error {
			return db.Distinct("name").Find(&[]Patient{}).Error
		}},
		{"expression", "expression over a sealed column", func(db *gorm.DB) error {
			return db.Where("lower(name) = ?", "anna").Find(&[]Patient{}).Error
		}},
		{"update from an expression", "sealed column set from an expression", func(db *gorm.DB) error {
			return db.Model(&Patient{ID: 1}).Update("name", gorm.Expr("upper(name)")).Error
		}},
		{"compare with NULL", "sealed column compared with NULL", func(db *gorm.DB) error {
			return db.Where("name = NULL").Find(&[]Patient{}).Error
		}},
		{"tenant column in the model", fixture.OtherTenant, func(db *gorm.DB) error {
			return db.Create(&tenantPatient{TenantID: "elsewhere", ID: 99, Name: "x"}).Error
		}},
		{"tenant column in an update", "write to the tenant column", func(db *gorm.DB) error {
			return db.Model(&Patient{ID: 1}).Update("tenant_id", "Clinic").Error
		}},
		{"blind index", "unknown column", func(db *gorm.DB) error {
			return db.Select("id", "name_index").Find(&[]Patient{}).Error
		}},
		{"shared table", "write to a shared table", func(db *gorm.DB) error {
			return db.Create(&Patient{ID: 99, Name: "x", Country: &Country{Code: "se", Title: "Sweden"}}).Error
		}},
		{"undeclared table", "unknown table", func(db *gorm.DB) error {
			return db.Table("pg_catalog.pg_authid").Find(&[]map[string]any{}).Error
		}},
		{"ON CONFLICT by an unknown constraint's name", "ON CONFLICT on an unknown constraint", func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{OnConstraint: "patients_key", DoNothing: true}).Create(&Patient{ID: 1}).Error
		}},
		{"ON CONFLICT on no key", "ON CONFLICT on columns that are no key", func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "ward"}}, DoNothing: true}).Create(&Patient{ID: 1}).Error
		}},
		{"migration", "unsupported statement", func(db *gorm.DB) error {
			return db.Exec("ALTER TABLE patients DISABLE ROW LEVEL SECURITY").Error
		}},
		{"setting", "unsupported statement", func(db *gorm.DB) error {
			return db.Exec("SET strongroom.tenant = 'Clinic'").Error
		}},
		{"function", "function not in the allowlist", func(db *gorm.DB) error {
			return db.Raw("SELECT set_config('strongroom.tenant', ?, false)", "Clinic").Scan(new(string)).Error
		}},
	}
	for _, id := range []tenant.ID{fixture.A, fixture.B} {
		for _, test := range cases {
			t.Run(test.name, func(t *testing.T) {
				c.Untouched(t, fixture.A, func() {
					c.Untouched(t, fixture.B, func() { fixture.Refused(t, test.run(as(db, id)), test.reason) })
				})
			})
		}
	}
}

func TestMigratorRefused(t *testing.T) {
	c, db := open(t, gorm.Config{})
	if err := as(db, fixture.A).AutoMigrate(&Patient{}); err == nil {
		t.Error("AutoMigrate ran through the guard")
	}
	c.Untouched(t, fixture.A, func() {
		if err := as(db, fixture.A).Migrator().DropTable(&Patient{}); err == nil {
			t.Error("DropTable ran through the guard")
		}
	})
	var n int
	fixture.OK(t, c.Super.QueryRow(`SELECT count(*) FROM information_schema.columns WHERE table_name = 'patients'`).Scan(&n))
	fixture.Equal(t, "columns", n, 12)
}
