package apart_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/internal/apart"
)

// TestCall: whatever code does, its caller goes on, and hears nothing of what a panic says.
func TestCall(t *testing.T) {
	errOwn := errors.New("own")
	for name, c := range map[string]struct {
		code  func() error
		broke string
		err   error
	}{
		"returns":            {func() error { return nil }, "", nil},
		"fails":              {func() error { return errOwn }, "", errOwn},
		"panics":             {func() error { panic("a value") }, "panicked", nil},
		"panics with nil":    {func() error { panic(nil) }, "panicked", nil},
		"ends its goroutine": {func() error { runtime.Goexit(); return errOwn }, "ended its goroutine", nil},
	} {
		broke, err := apart.Call(c.code)
		if err != c.err || !strings.HasPrefix(broke, c.broke) || (broke == "") != (c.broke == "") || strings.Contains(broke, "a value") {
			t.Errorf("%s: %q, %v", name, broke, err)
		}
		if c.broke == "panicked" && !strings.Contains(broke, "apart_test.go") {
			t.Errorf("%s: it does not say where: %s", name, broke)
		}
	}
}
