package gate

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
)

// number is a value of the application's with a method that panics.
type number int64

//go:noinline
func (n number) Value() (any, error) { panic(fmt.Sprint("not of a sort that can be stored", n > 0)) }

func TestStackHasNoArguments(t *testing.T) {
	const secret = 0x9001011234
	words := func(stack func() string) (said string) {
		defer func() {
			if recover() != nil {
				said = stack()
			}
		}()
		number(secret).Value()
		return ""
	}
	if all := words(func() string { return string(debug.Stack()) }); !strings.Contains(all, fmt.Sprintf("%x", secret)) {
		t.Skip("this runtime prints no arguments")
	}
	said := words(Stack)
	if strings.Contains(said, fmt.Sprintf("%x", secret)) {
		t.Errorf("the stack repeats the value:\n%s", said)
	}
	if !strings.Contains(said, "gate.number.Value") || !strings.Contains(said, "stack_test.go:") {
		t.Errorf("the stack does not say where it was:\n%s", said)
	}
}
