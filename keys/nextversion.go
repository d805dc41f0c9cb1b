package keys

import (
	"math/rand/v2"
	"time"
)

// versionStep bounds by how much a number is above the one before where the clock does not say: a second, as the clock counts, so that
// the clock is ahead again unless a tenant's record changes all the time.
const versionStep = 1 << 20

// NextVersion returns the number that a [Store] gives to the record that follows version, 0 for none: the time in microseconds
// since 1970, or one that is by chance up to a second higher than version where that is not above it. So no number is given a
// second time to another record of a tenant, as counting would do once a record was deleted, or the store was restored from
// a backup: a process that knows the one of before, and asks whether its version still is the stored one, would take the other
// one for it. That clocks agree is not needed, nor that they never were ahead.
func NextVersion(version int64) int64 {
	if now := time.Now().UnixMicro(); now > version {
		return now
	}
	return version + 1 + rand.Int64N(versionStep)
}
