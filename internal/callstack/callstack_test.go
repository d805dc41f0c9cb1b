package callstack

import (
	"runtime/debug"
	"strings"
	"testing"
)

// number is a value of the application's with a method that panics.
type number int64

//go:noinline
func (n number) Value() (any, error) { panic(n > 0) }

// TestWordsHaveNoArguments: which of them the runtime still knows differs, so that none may be there.
func TestWordsHaveNoArguments(t *testing.T) {
	words := func(stack func() string) (said string) {
		defer func() {
			if recover() != nil {
				said = stack()
			}
		}()
		number(0x9001011234).Value()
		return ""
	}
	if all := words(func() string { return string(debug.Stack()) }); !strings.Contains(all, "callstack.number.Value(0x") {
		t.Errorf("this runtime prints no arguments, and the test finds nothing:\n%s", all)
	}
	said := words(Words)
	if strings.Contains(said, "0x") {
		t.Errorf("the stack has arguments:\n%s", said)
	}
	if !strings.Contains(said, "callstack.number.Value\n") || !strings.Contains(said, "callstack_test.go:") {
		t.Errorf("the stack does not say where it was:\n%s", said)
	}
}
