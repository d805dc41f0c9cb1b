package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/sink"
)

// retain compresses and deletes the old segments of a log that no service has open. A service's own log does so by
// audit.Options.Retention.
func retain(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("retain", flag.ContinueOnError)
	retention := retentionFlags(flags)
	needed := int64(-1)
	flags.Func("needed", "the index of the first event that somebody has still to read: it and what follows is kept", func(s string) (err error) {
		if needed, err = strconv.ParseInt(s, 10, 64); err == nil && needed < 0 {
			err = errors.New("use an index, from 0")
		}
		return err
	})
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	policy, err := retention(dir)
	if err != nil {
		return err
	}
	if policy == nil {
		return errors.New("auditctl retain: nothing is asked for; give -compress, -age or -size")
	}
	if needed >= 0 {
		if policy.Needed != nil {
			return errors.New("auditctl retain: -needed stands beside -needed-cursor; give one of them")
		}
		policy.Needed = func(context.Context) (int64, error) { return needed, nil }
	}
	if _, err := audit.Retained(dir); err != nil { // to open what is no log would make one
		return err
	}
	log, err := audit.OpenLog(dir, &audit.Options{Service: "auditctl"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	done, err := log.Retain(ctx, policy)
	if done != nil {
		fmt.Fprintf(out, "compressed  %d segments\ndeleted     %d events; the first that is kept has the index %d\nfreed       %d bytes\n",
			done.Compressed, done.Deleted, done.First, done.Freed)
	}
	return err
}

// retentionFlags returns what makes the policy that is asked for, of the log in a directory; nil for none.
func retentionFlags(flags *flag.FlagSet) func(dir string) (*audit.Retention, error) {
	policy := &audit.Retention{}
	flags.BoolVar(&policy.Compress, "compress", false, "compress all segments but the newest (Zstandard)")
	flags.Func("age", `delete segments of which every event is older, as "400d" or "36h"`, func(s string) (err error) {
		policy.Age, err = age(s)
		return err
	})
	flags.Func("size", `delete the oldest segments until the others have at most so many bytes, as "20GiB", "500MiB" or "1000000"`, func(s string) (err error) {
		policy.Bytes, err = size(s)
		return err
	})
	flags.BoolVar(&policy.DropHashes, "drop-hashes", false, "delete with events their leaf hashes: older pins are compared with the checkpoints alone, and older witnesses begin anew")
	flags.BoolVar(&policy.DropCheckpoints, "drop-checkpoints", false, "delete with events the checkpoints that seal no others; older pins are compared with the leaf hashes, where those are kept")
	var cursors []string
	flags.Func("needed-cursor", "the cursor of an auditctl ship: what its receiver has not is kept (repeatable)", func(s string) error {
		cursors = append(cursors, s)
		return nil
	})
	return func(dir string) (*audit.Retention, error) {
		if len(cursors) > 0 {
			policy.Needed = sink.Needed(dir, cursors...)
		}
		if !policy.Compress && policy.Age == 0 && policy.Bytes == 0 {
			if policy.DropHashes || policy.DropCheckpoints {
				return nil, errors.New("auditctl: -drop-hashes and -drop-checkpoints go with what is deleted, and nothing is; give -age or -size with them")
			}
			if len(cursors) > 0 {
				return nil, errors.New("auditctl: -needed-cursor bounds what is deleted, and nothing is; give -age or -size with it")
			}
			return nil, nil
		}
		return policy, nil
	}
}

func age(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 1 || n > 100_000 {
			return 0, errors.New(`use a number of days, such as "400d"`)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New(`use a number of days or hours, such as "400d" or "36h"`)
	}
	return d, nil
}

func size(s string) (int64, error) {
	number, unit := s, int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = n, bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > (1<<62)/unit {
		return 0, errors.New(`use a number of bytes, such as "20GiB" or "500MiB"`)
	}
	return n * unit, nil
}

// noteDeleted says from where on the logs have events: a list that begins later than the log did would be taken for all.
func noteDeleted(dirs []string, errs io.Writer) {
	for _, dir := range dirs {
		if first, err := audit.Retained(dir); err == nil && first > 0 {
			fmt.Fprintf(errs, "%s: events from index %d on; those before were deleted by retention\n", dir, first)
		}
	}
}
