package keys

import (
	"testing"
	"time"
)

// While the clock is behind a record's number, as after it was far ahead, a store that was restored gives other numbers than the ones that
// processes know from before.
func TestVersionsAreNotUsedAgainWithTheClockBehind(t *testing.T) {
	backup := time.Now().Add(24 * time.Hour).UnixMicro()
	numbers := func() (all [8]int64) {
		version := backup
		for i := range all {
			next := NextVersion(version)
			if next <= version {
				t.Fatalf("%d follows %d", next, version)
			}
			all[i], version = next, next
		}
		return all
	}
	before, restored, again := numbers(), numbers(), 0
	for i := range before {
		if before[i] == restored[i] {
			again++
		}
	}
	if again > 1 { // one would be a chance of one in a hundred thousand
		t.Errorf("%d of %d records after the backup have the same numbers before it was restored and after", again, len(before))
	}
	if now := time.Now().UnixMicro(); NextVersion(0) < now || NextVersion(now-1) < now {
		t.Error("the number is not that of the clock")
	}
}
