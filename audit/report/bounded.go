package report

import "slices"

// table remembers so many keys and no more. What comes for others is counted.
type table[K comparable, V any] struct {
	most  int
	of    map[K]*V
	extra int64 // times that a key had no place
}

func newTable[K comparable, V any](most int) *table[K, V] {
	return &table[K, V]{most: most, of: map[K]*V{}}
}

// at returns the value of a key, which is new at first; nil where there is no place for it.
func (t *table[K, V]) at(k K) *V {
	v := t.of[k]
	if v == nil && len(t.of) >= t.most {
		t.extra++
	} else if v == nil {
		v = new(V)
		t.of[k] = v
	}
	return v
}

func (t *table[K, V]) put(k K, v V) {
	if p := t.at(k); p != nil {
		*p = v
	}
}

func (t *table[K, V]) drop(k K) { delete(t.of, k) }

// sorted returns the keys in an order.
func (t *table[K, V]) sorted(compare func(a, b K) int) []K {
	keys := make([]K, 0, len(t.of))
	for k := range t.of {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

// set counts different values up to a number.
type set[K comparable] struct {
	most int
	of   map[K]struct{}
	full bool
}

func newSet[K comparable](most int) *set[K] { return &set[K]{most: most, of: map[K]struct{}{}} }

func (s *set[K]) add(k K) {
	if _, ok := s.of[k]; ok {
		return
	}
	if len(s.of) >= s.most {
		s.full = true
		return
	}
	s.of[k] = struct{}{}
}

// count says how many there are.
func (s *set[K]) count() string {
	if s.full {
		return "over " + number(int64(len(s.of)))
	}
	return number(int64(len(s.of)))
}

// ring keeps the newest values.
type ring[T any] struct {
	most  int
	of    []T
	next  int
	total int64
}

func (r *ring[T]) add(v T) {
	r.total++
	if len(r.of) < r.most {
		r.of = append(r.of, v)
		return
	}
	r.of[r.next] = v
	r.next = (r.next + 1) % r.most
}

// newest returns them, the newest first.
func (r *ring[T]) newest() []T {
	list := slices.Concat(r.of[r.next:], r.of[:r.next])
	slices.Reverse(list)
	return list
}

// left is how many are not kept.
func (r *ring[T]) left() int64 { return r.total - int64(len(r.of)) }
