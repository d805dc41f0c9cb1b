package overdue

import "testing"

func TestOneThatDoesNotEndIsNotAskedAgain(t *testing.T) {
	var all Questions[string]
	begin := func(about string) *Question[string] {
		t.Helper()
		q, ok := all.Begin(about)
		if !ok {
			t.Fatal("it cannot be asked")
		}
		return q
	}
	a, at, b := begin("a"), begin("a"), begin("b")
	b.End()
	b.GiveUp() // it has ended
	begin("b").End()
	a.GiveUp()
	a.GiveUp()
	at.GiveUp()
	a.End()
	if _, ok := all.Begin("a"); ok {
		t.Error("it is asked, though one does not end")
	}
	begin("b").End()
	at.End()
	begin("a").End()
	if len(all.lost) != 0 {
		t.Errorf("%v are left", all.lost)
	}
}
