package blobs

import (
	"cmp"
	"slices"

	"gocloud.dev/blob/driver"
)

// firstKeys keeps the first n of the keys that are added, each once, and no more than twice as many in memory: what is
// n items of a sorted listing, out of a store that lists them in another order.
type firstKeys struct {
	n       int
	after   string // only keys behind this one count
	objects []*driver.ListObject
	most    string // if not empty, only keys up to this one count
}

// wants reports whether a key is of use as things stand.
func (s *firstKeys) wants(key string) bool {
	return key > s.after && (s.most == "" || key <= s.most)
}

func (s *firstKeys) add(o *driver.ListObject) {
	s.objects = append(s.objects, o)
	if len(s.objects) >= 2*s.n {
		s.trim()
	}
}

// trim returns the objects kept, in order.
func (s *firstKeys) trim() []*driver.ListObject {
	// Of one key the object that was added last stays.
	slices.Reverse(s.objects)
	slices.SortStableFunc(s.objects, func(a, b *driver.ListObject) int { return cmp.Compare(a.Key, b.Key) })
	s.objects = slices.CompactFunc(s.objects, func(a, b *driver.ListObject) bool { return a.Key == b.Key })
	if len(s.objects) >= s.n {
		clear(s.objects[s.n:])
		s.objects = s.objects[:s.n]
		s.most = s.objects[s.n-1].Key
	}
	return s.objects
}
