// Package closest finds what somebody may have meant who mistyped a name.
package closest

import "strings"

// To returns the one of some names that a mistyped name is closest to, if it is close: at most a third of its letters
// are wrong, missing or too many.
func To(name string, names []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate), least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the edit distance of Levenshtein, with two letters that changed places as one error (the "optimal string
// alignment" of Damerau's), or limit if it is no less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 63 || len(b) > 63 {
		return limit
	}
	// The distances from b's beginnings to a's beginning so far, and to those that are a letter and two letters shorter.
	row, last, before := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
