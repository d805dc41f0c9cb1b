package report

import (
	"cmp"
	"math"
	"slices"
)

const (
	// leastDays is how many days are needed to compare one with.
	leastDays = 8
	// leastRows is below what nothing is unusual.
	leastRows = 100
	// threshold is that of Iglewicz and Hoaglin for the modified z-score.
	threshold = 3.5
)

// actorDay is one day of one actor of a tenant.
type actorDay struct {
	tenant, actor string
	day           int64 // since 1970
}

// volume is a day on which an actor read unusually much.
type volume struct {
	actorDay
	rows   int64
	median float64
	score  float64
	own    bool // compared with the actor's own days
}

// unusual returns the days from a day on that stand out, the most unusual first.
func unusual(days map[actorDay]int64, from int64) []volume {
	type person struct{ tenant, actor string }
	own, all := map[person][]float64{}, map[string][]float64{}
	for d, rows := range days {
		p := person{d.tenant, d.actor}
		own[p] = append(own[p], float64(rows))
		all[d.tenant] = append(all[d.tenant], float64(rows))
	}
	ownRule, allRule := map[person]rule{}, map[string]rule{}
	for p, list := range own {
		if len(list) >= leastDays {
			ownRule[p] = newRule(list)
		}
	}
	for t, list := range all {
		if len(list) >= leastDays {
			allRule[t] = newRule(list)
		}
	}
	var found []volume
	for d, rows := range days {
		if d.day < from || rows < leastRows {
			continue
		}
		r, isOwn := ownRule[person{d.tenant, d.actor}]
		if !isOwn {
			var ok bool
			if r, ok = allRule[d.tenant]; !ok {
				continue
			}
		}
		if s := r.score(float64(rows)); s > threshold {
			found = append(found, volume{d, rows, r.median, s, isOwn})
		}
	}
	slices.SortFunc(found, func(a, b volume) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.rows, a.rows), cmp.Compare(a.day, b.day), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.actor, b.actor))
	})
	return found
}

// rule scores a value against others: the modified z-score.
type rule struct{ median, spread float64 }

func newRule(list []float64) rule {
	r := rule{median: median(list)}
	deviations, sum := make([]float64, len(list)), 0.0
	for i, x := range list {
		deviations[i] = math.Abs(x - r.median)
		sum += deviations[i]
	}
	if mad := median(deviations); mad > 0 {
		r.spread = mad / 0.6745
	} else {
		r.spread = 1.253314 * sum / float64(len(list))
	}
	return r
}

// score is above threshold for what is unusually much; 0 where all values are one.
func (r rule) score(x float64) float64 {
	if r.spread == 0 {
		return 0
	}
	return (x - r.median) / r.spread
}

// median sorts the list.
func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}
