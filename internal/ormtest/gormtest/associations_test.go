package gormtest

import (
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestPreload(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		var all []Patient
		fixture.OK(t, db.Preload("Visits", func(db *gorm.DB) *gorm.DB { return db.Order("visits.id DESC") }).
			Preload("Country").Preload(clause.Associations).Order("id").Find(&all).Error)
		fixture.Equal(t, "patients", len(all), 3)
		fixture.Equal(t, "visits", len(all[0].Visits) == 2 && len(all[1].Visits) == 0, true)
		fixture.Equal(t, "note", *all[0].Visits[1].Note, own("note 10"))
		fixture.Equal(t, "cost", *all[0].Visits[1].Cost, "87654.75")
		fixture.Equal(t, "shared", all[0].Country.Title, "Iceland")
		var v Visit
		fixture.OK(t, db.Preload("Patient.Country").Preload("Patient", "name = ?", own("Anna")).First(&v, 10).Error)
		fixture.Equal(t, "nested", v.Patient.Name+v.Patient.Country.Title, own("Anna")+"Iceland")
	})
}

func TestJoins(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		var visits []Visit
		fixture.OK(t, db.Joins("Patient").Order("visits.id").Find(&visits, `"Patient"."name" = ?`, own("anna")).Error)
		fixture.Equal(t, "joined", len(visits) == 2 && visits[0].Patient.Name == own("Anna") && *visits[1].Note == own("note 11"), true)
		fixture.OK(t, db.InnerJoins("Patient", db.Where(&Patient{SSN: ptr(own("1"))})).Joins("Patient.Country").Find(&visits).Error)
		fixture.Equal(t, "nested", len(visits) == 2 && visits[0].Patient.Country.Title == "Iceland", true)
		var rows []struct{ Name, Note string }
		fixture.OK(t, db.Table("patients AS p").Select("p.name, v.note").
			Joins("JOIN visits AS v ON v.patient_id = p.id AND v.room = ?", "r2").Scan(&rows).Error)
		fixture.Equal(t, "by hand", len(rows) == 1 && rows[0].Name == own("Anna") && rows[0].Note == own("note 11"), true)
		fixture.OK(t, db.Table("(?) AS q", db.Model(&Patient{}).Select("id", "name")).Where("q.id = ?", 1).Select("q.name").Scan(&rows).Error)
		fixture.Equal(t, "subquery in FROM", len(rows) == 1 && rows[0].Name == own("Anna"), true)
	})
}

func TestAssociations(t *testing.T) {
	c, db := open(t, gorm.Config{})
	seed(t, db)
	each(t, c, func(t *testing.T, id tenant.ID, own func(string) string) {
		db := as(db, id)
		p := Patient{ID: 1}
		// has many: stored with an upsert by primary key
		fixture.OK(t, db.Model(&p).Association("Visits").Append(&Visit{ID: 12, Room: "r3", Note: ptr(own("note 12"))}))
		fixture.Equal(t, "visits", db.Model(&p).Association("Visits").Count(), 3)
		var found []Visit
		fixture.OK(t, db.Model(&p).Where("room = ?", "r3").Association("Visits").Find(&found))
		fixture.Equal(t, "found", len(found) == 1 && *found[0].Note == own("note 12"), true)
		// many to many
		fixture.OK(t, db.Model(&p).Association("Tags").Append([]Tag{{ID: 5, Label: "blue"}, {ID: 6, Label: "red"}}))
		fixture.OK(t, db.Model(&Patient{ID: 2}).Association("Tags").Append(&Tag{ID: 5, Label: "blue"}))
		fixture.Equal(t, "tags", db.Model(&p).Association("Tags").Count(), 2)
		fixture.OK(t, db.Model(&p).Association("Tags").Replace(&Tag{ID: 6, Label: "red"}, &Tag{ID: 7, Label: "green"}))
		fixture.OK(t, db.Model(&p).Association("Tags").Delete(&Tag{ID: 7}))
		var got Patient
		fixture.OK(t, db.Preload("Tags").First(&got, 1).Error)
		fixture.Equal(t, "tags", len(got.Tags) == 1 && got.Tags[0].Label == "red", true)
		fixture.OK(t, db.Model(&p).Association("Tags").Clear())
		fixture.Equal(t, "links", c.Count(t, id, "patient_tags"), 1)
		// a whole graph at once, and again with everything updated
		n := Patient{ID: 20, Name: own("Gro"), Tags: []Tag{{ID: 8, Label: "grey"}}, Visits: []Visit{{ID: 30, Note: ptr(own("old"))}}}
		fixture.OK(t, db.Create(&n).Error)
		n.Visits[0].Note = ptr(own("new"))
		fixture.OK(t, db.Session(&gorm.Session{FullSaveAssociations: true}).Save(&n).Error)
		var v Visit
		fixture.OK(t, db.First(&v, 30).Error)
		fixture.Equal(t, "saved", *v.Note, own("new"))
		fixture.OK(t, db.Unscoped().Select("Visits", "Tags").Delete(&Patient{ID: 20}).Error)
		fixture.Equal(t, "visits left", c.Count(t, id, "visits"), 3)
	})
}
