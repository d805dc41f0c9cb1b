package gormtest

import (
	"bytes"
	"log"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/strongroom-go/strongroom/internal/ormtest/fixture"
)

// GORM logs the statements that fail or are slow with the values that were bound, those of sealed columns too. ParameterizedQueries keeps them out.
func TestLogger(t *testing.T) {
	_, db := open(t, gorm.Config{})
	for parameterized, shown := range map[bool]bool{false: true, true: false} {
		var out bytes.Buffer
		logged := db.Session(&gorm.Session{Logger: logger.New(log.New(&out, "", 0), logger.Config{
			SlowThreshold: time.Nanosecond, LogLevel: logger.Warn, ParameterizedQueries: parameterized})})
		fixture.OK(t, as(logged, fixture.A).Create(&Patient{Name: "Canary of the logger", Ward: "north"}).Error)
		as(logged, fixture.A).Create(&Patient{ID: 1, Name: "Canary of the logger", Ward: "north"})
		as(logged, fixture.A).Where("name = ?", "Canary of the logger").Find(&[]Patient{})
		if out.Len() == 0 || strings.Contains(out.String(), "Canary") != shown {
			t.Errorf("ParameterizedQueries %v: %s", parameterized, out.String())
		}
	}
}
