// Package apart calls code that an application handed over, such as its recorder and its authorizer. Such code may panic, or end the
// goroutine that it is called on, as a test's FailNow does. Both are stopped here: database/sql takes no connection back from a call
// that does not return, and what somebody waits for behind the call would not happen.
package apart

import "github.com/strongroom-go/strongroom/internal/callstack"

// Call calls code on a goroutine of its own, and returns when it is over. Where code did not return, broke says what it did, for the
// words of an error. What a panic says may be of the application's data, and is not repeated.
func Call(code func() error) (broke string, err error) {
	over := make(chan struct{})
	go func() {
		returned := false
		defer func() {
			switch {
			case recover() != nil:
				broke, err = "panicked\n\n"+callstack.Words(), nil
			case !returned:
				broke, err = "ended its goroutine (runtime.Goexit)", nil
			}
			close(over)
		}()
		err = code()
		returned = true
	}()
	<-over
	return broke, err
}
