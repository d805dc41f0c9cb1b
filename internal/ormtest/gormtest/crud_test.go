package gormtest

import (
	"errors"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestCreateAndRead(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	c.Sealed(t, "Anna", "Björn", "Cleo", "1950-03-14", "87654.75", "note 10", "1 of Clinic")
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		var p Patient
		fixture.OK(t, db.First(&p, 1).Error)
		fixture.Equal(t, "name", p.Name, own("Anna"))
		fixture.Equal(t, "born", *p.Born, born)
		fixture.Equal(t, "hook", p.shout != "" && p.shout != p.Name, true)
		var all []Patient
		fixture.OK(t, db.Order("id DESC").Limit(2).Offset(1).Find(&all).Error)
		fixture.Equal(t, "page", len(all) == 2 && all[0].ID == 2 && all[1].ID == 1, true)
		fixture.Equal(t, "default", all[0].Ward, "entry")
		fixture.Equal(t, "null", all[0].Born == nil, true)

		n := Patient{Name: own("Dora") + " (draft)"}
		fixture.OK(t, db.Create(&n).Error)
		fixture.Equal(t, "generated id", n.ID > 0, true)
		var last Patient
		fixture.OK(t, db.Last(&last, "name = ?", own("Dora")).Error)
		fixture.Equal(t, "hook", last.ID, n.ID)

		var count int64
		fixture.OK(t, db.Model(&Patient{}).Count(&count).Error)
		fixture.Equal(t, "count", count, 4)
		var names []string
		fixture.OK(t, db.Model(&Patient{}).Where("id < ?", 3).Order("id").Pluck("name", &names).Error)
		fixture.Equal(t, "names", len(names) == 2 && names[1] == own("Björn"), true)
		var some []struct {
			Name  string
			Total int64
		}
		fixture.OK(t, db.Model(&Patient{}).Select("patients.name, count(visits.id) AS total").
			Joins("LEFT JOIN visits ON visits.patient_id = patients.id").Group("patients.id").Order("patients.id").Scan(&some).Error)
		fixture.Equal(t, "grouped", len(some) == 4 && some[0].Total == 2 && some[0].Name == own("Anna") && some[1].Total == 0, true)
		var m map[string]any
		fixture.OK(t, db.Model(&Patient{}).Select("id", "name").Take(&m, 2).Error)
		fixture.Equal(t, "map", m["name"], any(own("Björn")))
	})
}

func TestSearch(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		other := map[tenant.ID]tenant.ID{fixture.A: fixture.B, fixture.B: fixture.A}[id]
		db := as(db, id)
		find := func(what string, want int, q *gorm.DB) {
			t.Helper()
			var got []Patient
			fixture.OK(t, q.Find(&got).Error)
			fixture.Equal(t, what, len(got), want)
			for _, p := range got {
				fixture.Equal(t, what+" is the tenant's", p.Name[len(p.Name)-len(id.String()):], id.String())
			}
		}
		find("equal, folded and trimmed", 1, db.Where("name = ?", "  bJÖRN of "+id.String()))
		find("struct", 1, db.Where(&Patient{SSN: ptr(own("1"))}))
		find("map", 1, db.Where(map[string]any{"ssn": own("1"), "ward": "north"}))
		find("map of lists", 2, db.Where(map[string]any{"ssn": []string{own("1"), own("2"), "3"}}))
		find("IN", 2, db.Where("ssn IN ?", []string{own("1"), own("2")}))
		find("not equal", 2, db.Where("name <> ?", own("Anna")))
		find("Not", 2, db.Not(map[string]any{"name": own("Anna")}))
		find("Or", 2, db.Where("name = ?", own("Anna")).Or("name = ?", own("Cleo")))
		find("IS NULL", 1, db.Where("ssn IS NULL"))
		find("null in a map", 1, db.Where(map[string]any{"ssn": nil}))
		find("other's value", 0, db.Where("ssn = ?", "1 of "+other.String()))
		find("other's tenant column", 0, db.Where("tenant_id = ?", other.String()))
		find("everything", 3, db.Where("1 = 1 OR tenant_id <> ?", id.String()))
		find("subquery", 1, db.Where("id IN (?)", db.Model(&Visit{}).Select("patient_id")))
		find("correlated", 1, db.Where("EXISTS (?)", db.Model(&Visit{}).Select("1").Where("visits.patient_id = patients.id")))
		find("lock", 3, db.Clauses(clause.Locking{Strength: "UPDATE", Options: "SKIP LOCKED"}))
		find("raw", 1, db.Raw("SELECT * FROM patients WHERE name = @who AND ward = @ward", map[string]any{"who": own("anna"), "ward": "north"}))
	})
}

func TestUpdateAndDelete(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		var p Patient
		fixture.OK(t, db.First(&p, 1).Error)
		p.Name, p.Born = own("Astrid"), nil
		fixture.OK(t, db.Omit("Visits").Save(&p).Error)
		res := db.Model(&Patient{ID: 2}).Updates(map[string]any{"name": own("Bo"), "ward": gorm.Expr("upper(ward)")})
		fixture.OK(t, res.Error)
		fixture.Equal(t, "affected", res.RowsAffected, 1)
		fixture.OK(t, db.Model(&Patient{}).Where("name = ?", own("Cleo")).Update("ssn", own("3")).Error)
		var back Patient
		res = db.Model(&back).Clauses(clause.Returning{Columns: []clause.Column{{Name: "id"}, {Name: "name"}}}).
			Where("ssn = ?", own("3")).UpdateColumn("name", own("Clea"))
		fixture.OK(t, res.Error)
		fixture.Equal(t, "returning", back.Name, own("Clea"))
		var all []Patient
		fixture.OK(t, db.Order("id").Find(&all).Error)
		fixture.Equal(t, "updated", len(all) == 3 && all[0].Name == own("Astrid") && all[0].Born == nil && all[1].Name == own("Bo") &&
			all[1].Ward == "ENTRY" && *all[2].SSN == own("3"), true)

		// Save of a row that is not there inserts it: an upsert by the primary key.
		fixture.OK(t, db.Save(&Patient{ID: 77, Name: own("Saved")}).Error)
		fixture.Equal(t, "saved", c.Count(t, id, "patients"), 4)

		res = db.Where("name = ?", own("Bo")).Delete(&Patient{})
		fixture.OK(t, res.Error)
		fixture.Equal(t, "soft-deleted", res.RowsAffected, 1)
		fixture.Equal(t, "gone", errors.Is(db.First(&Patient{}, 2).Error, gorm.ErrRecordNotFound), true)
		var kept Patient
		fixture.OK(t, db.Unscoped().First(&kept, 2).Error)
		fixture.Equal(t, "still stored", kept.Name, own("Bo"))
		fixture.OK(t, db.Unscoped().Delete(&Patient{}, []int64{2, 77}).Error)
		fixture.Equal(t, "rows", c.Count(t, id, "patients"), 2)
		fixture.Equal(t, "a WHERE is still needed", errors.Is(db.Delete(&Visit{}).Error, gorm.ErrMissingWhereClause), true)
		fixture.OK(t, db.Where("1 = 1").Delete(&Visit{}).Error)
		fixture.Equal(t, "visits", c.Count(t, id, "visits"), 0)
		seedVisits(t, db, own) // for the other tenant's turn to tell
	})
}

func seedVisits(t *testing.T, db *gorm.DB, own func(string) string) {
	t.Helper()
	fixture.OK(t, db.Create(&[]Visit{{ID: 10, PatientID: 1, Note: ptr(own("again"))}}).Error)
}

func TestUpserts(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		key := []clause.Column{{Name: "id"}}
		fixture.OK(t, db.Clauses(clause.OnConflict{Columns: key, DoNothing: true}).Create(&Patient{ID: 1, Name: own("Nobody")}).Error)
		fixture.OK(t, db.Clauses(clause.OnConflict{DoNothing: true}).Create(&Patient{ID: 1, Name: own("Nobody")}).Error)
		fixture.OK(t, db.Clauses(clause.OnConflict{OnConstraint: "patients_pkey", DoNothing: true}).Create(&Patient{ID: 1, Name: own("Nobody")}).Error)
		var p Patient
		fixture.OK(t, db.First(&p, 1).Error)
		fixture.Equal(t, "do nothing", p.Name, own("Anna"))

		fixture.OK(t, db.Clauses(clause.OnConflict{Columns: key, DoUpdates: clause.AssignmentColumns([]string{"name", "born", "ward"})}).
			Create(&[]Patient{{ID: 1, Name: own("Aase"), Ward: "south"}, {ID: 8, Name: own("Eva")}}).Error)
		fixture.OK(t, db.Clauses(clause.OnConflict{Columns: key, DoUpdates: clause.Assignments(map[string]any{"name": own("Beda")})}).
			Create(&Patient{ID: 2, Name: own("Nobody")}).Error)
		fixture.OK(t, db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Patient{ID: 3, Name: own("Cilla"), SSN: ptr(own("3"))}).Error)
		// By a unique key on the blind index of a sealed column.
		again := Patient{Name: own("Cecilia"), SSN: ptr(own("3"))}
		fixture.OK(t, db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "ssn"}}, DoUpdates: clause.AssignmentColumns([]string{"name"})}).
			Create(&again).Error)
		fixture.Equal(t, "id of the row that was there", again.ID, 3)

		var got []Patient
		fixture.OK(t, db.Order("id").Find(&got).Error)
		names := ""
		for _, p := range got {
			names += p.Name + ";"
		}
		fixture.Equal(t, "names", names, own("Aase")+";"+own("Beda")+";"+own("Cecilia")+";"+own("Eva")+";")
		fixture.Equal(t, "plain column", got[0].Ward, "south")
		var found Patient
		fixture.OK(t, db.First(&found, "name = ?", own("AASE")).Error) // the index was written with the value
		fixture.Equal(t, "found", found.ID, 1)
		fixture.Equal(t, "old name is no more", errors.Is(db.First(&Patient{}, "name = ?", own("Anna")).Error, gorm.ErrRecordNotFound), true)

		var f Patient
		fixture.OK(t, db.Where(Patient{SSN: ptr(own("9"))}).Attrs(Patient{Name: own("Finn")}).FirstOrCreate(&f).Error)
		var again9 Patient
		fixture.OK(t, db.Where(Patient{SSN: ptr(own("9"))}).FirstOrCreate(&again9).Error)
		fixture.Equal(t, "first or create", again9.ID == f.ID && again9.Name == own("Finn"), true)
	})
}

func TestBatches(t *testing.T) {
	for _, prepare := range []bool{false, true} {
		c, db := open(t, gorm.Config{PrepareStmt: prepare, CreateBatchSize: 40})
		seed(t, db)
		each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
			db := as(db, id)
			var many []Patient
			for range 100 {
				many = append(many, Patient{Name: own("Many"), Ward: "mass"})
			}
			fixture.OK(t, db.Create(&many).Error)
			seen := 0
			var batch []Patient
			fixture.OK(t, db.Where("name = ?", own("many")).FindInBatches(&batch, 30, func(*gorm.DB, int) error {
				for _, p := range batch {
					fixture.Equal(t, "name", p.Name, own("Many"))
				}
				seen += len(batch)
				return nil
			}).Error)
			fixture.Equal(t, "in batches", seen, 100)
			rows, err := db.Model(&Patient{}).Where("ward = ?", "mass").Rows()
			fixture.OK(t, err)
			defer rows.Close()
			for seen = 0; rows.Next(); seen++ {
				var p Patient
				fixture.OK(t, db.ScanRows(rows, &p))
				fixture.Equal(t, "name", p.Name, own("Many"))
			}
			fixture.OK(t, rows.Err())
			fixture.Equal(t, "by rows", seen, 100)
		})
	}
}
