package vaultkek

import (
	"net/http"
	"testing"
	"time"
)

// TestSkew: a clock that agrees is within the bounds whenever in the second, and in the call, its time was told.
func TestSkew(t *testing.T) {
	asked := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, took := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
		for _, ahead := range []time.Duration{0, time.Hour, -time.Minute} {
			for ms := range 1000 {
				begin := asked.Add(time.Duration(ms) * time.Millisecond)
				for _, told := range []time.Time{begin, begin.Add(took / 2), begin.Add(took)} {
					date := told.Add(ahead).UTC().Truncate(time.Second).Format(http.TimeFormat)
					got, within := skew(begin, begin.Add(took), date)
					if d := got - ahead; d < -within || d > within || within > took/2+time.Second/2 {
						t.Fatalf("ahead %v, told after %v of %v: %v, give or take %v", ahead, told.Sub(begin), took, got, within)
					}
				}
			}
		}
	}
	if _, within := skew(asked, asked, "yesterday"); within != 0 {
		t.Error("no time is one")
	}
}
