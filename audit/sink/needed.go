package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// Needed returns a function for the [audit.Retention].Needed of the log in dir, which keeps what one of the sinks with these cursor
// files has not: where one has no cursor yet, everything. A cursor of another log is an error, and so nothing is deleted. The
// shippers may be in other processes.
func Needed(dir string, cursorFiles ...string) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) {
		if len(cursorFiles) == 0 {
			return 0, errors.New("sink: Needed was given no cursor")
		}
		least := int64(-1)
		for _, name := range cursorFiles {
			data, err := plainfile.Read(name, maxCursor)
			if errors.Is(err, fs.ErrNotExist) {
				return 0, nil
			}
			var n int64
			if err == nil {
				n, err = audit.Followed(dir, data)
			}
			if err != nil {
				return 0, fmt.Errorf("sink: the cursor %s: %w", name, err)
			}
			if least < 0 || n < least {
				least = n
			}
		}
		return least, nil
	}
}
