package gormtest

import (
	"errors"
	"strings"
	"testing"

	"gorm.io/gorm"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

var errUndo = errors.New("undo")

func TestNestedTransactions(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		err := as(db, id).Transaction(func(tx *gorm.DB) error {
			fixture.OK(t, tx.Create(&Patient{ID: 50, Name: own("Outer")}).Error)
			inner := tx.Transaction(func(tx *gorm.DB) error {
				fixture.OK(t, tx.Create(&Patient{ID: 51, Name: own("Inner")}).Error)
				fixture.OK(t, tx.Model(&Patient{ID: 1}).Update("name", own("Changed")).Error)
				return errUndo
			})
			fixture.Equal(t, "inner", errors.Is(inner, errUndo), true)
			fixture.OK(t, tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&Patient{ID: 52, Name: own("Kept")}).Error }))
			fixture.OK(t, tx.SavePoint("here").Error)
			fixture.OK(t, tx.Delete(&Patient{}, "id > 0").Error)
			return tx.RollbackTo("here").Error
		})
		fixture.OK(t, err)
		var names []string
		fixture.OK(t, as(db, id).Model(&Patient{}).Order("id").Pluck("name", &names).Error)
		fixture.Equal(t, "patients", len(names), 5)
		fixture.Equal(t, "unchanged", names[0], own("Anna"))
		fixture.Equal(t, "outer, kept", names[3]+names[4], own("Outer")+own("Kept"))

		err = as(db, id).Transaction(func(tx *gorm.DB) error {
			fixture.OK(t, tx.Where("1 = 1").Delete(&Visit{}).Error)
			return errUndo
		})
		fixture.Equal(t, "undone", errors.Is(err, errUndo), true)
		fixture.Equal(t, "visits", c.Count(t, id, "visits"), 2)
	})
}

// A refused statement was not sent: the transaction it stands in goes on.
func TestRefusedInTransaction(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		fixture.OK(t, as(db, id).Transaction(func(tx *gorm.DB) error {
			fixture.OK(t, tx.Create(&Patient{ID: 60, Name: own("Before")}).Error)
			fixture.Refused(t, tx.Order("name").Find(&[]Patient{}).Error, "ORDER BY a sealed column")
			return tx.Create(&Patient{ID: 61, Name: own("After")}).Error
		}))
		var n int64
		fixture.OK(t, as(db, id).Model(&Patient{}).Where("name IN ?", []string{own("before"), own("after")}).Count(&n).Error)
		fixture.Equal(t, "patients", n, 2)
	})
}

// A transaction belongs to the tenant that began it.
func TestTransactionOfAnotherTenant(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	c.Untouched(t, fixture.B, func() {
		tx := as(db, fixture.A).Begin()
		fixture.OK(t, tx.Error)
		err := tx.WithContext(fixture.As(fixture.B)).Model(&Patient{ID: 1}).Update("name", "crossed").Error
		fixture.Equal(t, "refused", errors.Is(err, sqldb.ErrTxTenant), true)
		fixture.OK(t, tx.Rollback().Error)
	})
}

func TestWithoutTenant(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	c.Trail.Take()
	var p Patient
	err := db.First(&p, 1).Error
	fixture.Equal(t, "refused", errors.Is(err, tenant.ErrMissing), true)
	fixture.Equal(t, "nothing read", p.Name, "")
	err = db.Create(&Patient{Name: "Nobody"}).Error
	fixture.Equal(t, "refused", errors.Is(err, tenant.ErrMissing), true)
	fixture.Equal(t, "denials in the trail", len(c.Trail.Take()), 2)
}

// The database's errors reach GORM, which translates them; they tell no values.
func TestErrors(t *testing.T) {
	c, db := open(t, gorm.Config{TranslateError: true})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		err := as(db, id).Create(&Patient{Name: "canary", SSN: ptr(own("1"))}).Error
		fixture.Equal(t, "duplicate", errors.Is(err, gorm.ErrDuplicatedKey), true)
		fixture.Equal(t, "value in the error", strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), own("1")), false)
		err = as(db, id).Create(&Visit{PatientID: 4}).Error
		fixture.Equal(t, "foreign key", errors.Is(err, gorm.ErrForeignKeyViolated), true)
	})
}

// A foreign key cannot refer to another tenant's row, and says the same as for a row that is nowhere.
func TestForeignKeyAcross(t *testing.T) {
	c, db := open(t, gorm.Config{})
	fixture.OK(t, as(db, fixture.A).Create(&Patient{ID: 7, Name: "Anna"}).Error)
	c.Untouched(t, fixture.A, func() {
		across := as(db, fixture.B).Create(&Visit{ID: 1, PatientID: 7}).Error
		absent := as(db, fixture.B).Create(&Visit{ID: 1, PatientID: 8}).Error
		if across == nil || absent == nil || across.Error() != absent.Error() {
			t.Errorf("another tenant's row: %v\nno row: %v", across, absent)
		}
	})
}
