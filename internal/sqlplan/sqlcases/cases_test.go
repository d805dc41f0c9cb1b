package sqlcases

import "testing"

// Each aim is somebody's, and no case is there twice: tests name cases by their keys.
func TestCases(t *testing.T) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	aims, keys := map[Aim]int{}, map[string]bool{}
	for _, c := range cases {
		aims[c.Aim]++
		if keys[c.Key()] {
			t.Errorf("twice: %s", c.Key())
		}
		keys[c.Key()] = true
	}
	for _, aim := range []Aim{Free, Inside, Accept, Check, Refuse} {
		if aims[aim] == 0 {
			t.Errorf("no case is to be %q", aim)
		}
	}
}
