package gormtest

import (
	"testing"

	"gorm.io/gorm"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
)

type result struct {
	ID             int64
	fixture.Result `gorm:"embedded"`
}

func (result) TableName() string { return "results" }

// Every logical type is stored, searched for and read back with Go's own types.
func TestTypes(t *testing.T) {
	c, db := open(t, gorm.Config{})
	for i, want := range fixture.Results {
		mine, others := as(db, fixture.A), as(db, fixture.B)
		c.Untouched(t, fixture.B, func() { fixture.OK(t, mine.Create(&result{int64(i + 1), want}).Error) })
		var got result
		where := map[string]any{"count": want.Count, "level": want.Level, "urgent": want.Urgent, "at": want.At, "day": want.Day,
			"amount": want.Amount, "ref": want.Ref}
		fixture.OK(t, mine.Where(where).First(&got).Error)
		fixture.Same(t, got.Result, want)
		var n int64
		fixture.OK(t, others.Model(&result{}).Where(where).Count(&n).Error)
		fixture.Equal(t, "the other's", n, 0)
	}
}
