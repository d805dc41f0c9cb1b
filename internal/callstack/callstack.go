// Package callstack tells where a panic was, without what calls were given.
package callstack

import (
	"fmt"
	"runtime"
	"strings"
)

// maxFrames is how many calls Words tells of.
const maxFrames = 64

// Words says where the calling goroutine is, for the words of an error about a panic: functions, files and lines. What [debug.Stack]
// gives has the arguments of each call, too, and those that are numbers are what the application was about to store.
//
// [debug.Stack]: https://pkg.go.dev/runtime/debug#Stack
func Words() string {
	var calls [maxFrames]uintptr
	frames := runtime.CallersFrames(calls[:runtime.Callers(2, calls[:])])
	var b strings.Builder
	for {
		f, more := frames.Next()
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return b.String()
		}
	}
}
