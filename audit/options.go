package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit/internal/vfs"
)

// Durability is what Record's nil promises.
type Durability int

const (
	// Durable: the event survives a crash of the process and of the machine (fdatasync has returned). Waiting events
	// share one fdatasync.
	Durable Durability = iota
	// Written: the event survives a crash of the process, not of the machine: it was handed to the kernel, and is
	// synced within 100 ms. An access of the last 100 ms before a loss of power may be missing from the log.
	Written
)

// String returns the durability's name.
func (d Durability) String() string {
	switch d {
	case Durable:
		return "durable"
	case Written:
		return "written"
	}
	return fmt.Sprintf("Durability(%d)", int(d))
}

// writtenSync is how long a [Written] event may wait for its sync.
const writtenSync = 100 * time.Millisecond

// Options are the optional settings of [OpenLog]. The zero value of each field is its default.
type Options struct {
	// Origin names the log in its checkpoints, in the manner of a URL without a scheme ("audit.example.com/node-7").
	// No two logs share one. It is fixed when the log is created: default "strongroom/" and a random UUID; for a log
	// that exists, the one it has.
	Origin string
	// Service names the application in every event, in the clear. Default: "strongroom".
	Service string
	// Durability is Durable by default.
	Durability Durability
	// Timeout is how long Record waits for the disk before it returns [ErrUnavailable]. Default: 2 s.
	Timeout time.Duration
	// CheckpointEvery is how often new events are sealed under a signed checkpoint. Default: 1 s.
	CheckpointEvery time.Duration
	// SegmentBytes is when a new segment file begins. Default and maximum: 64 MiB.
	SegmentBytes int64
	// ReserveBytes is the size of the file whose space lets the log note that its disk is full. Default: 64 MiB;
	// -1 for none.
	ReserveBytes int64
	// AheadBytes is how many zeros a [Durable] log writes at a time behind its newest events, to be filled by the next
	// ones: a sync then writes only them, and does not wait for the file system's journal. They are cut off when the
	// segment or the log is closed. Default: 512 KiB; -1 for none, which is better where the file system never overwrites
	// in place (Btrfs, ZFS).
	AheadBytes int64
	// HeadEvery is how many events of one tenant may stand behind its newest head leaf (default 1,024), and HeadAfter
	// how long fewer may wait for one (default 10 min). Closing the log writes all that are due.
	HeadEvery int
	HeadAfter time.Duration
	// Tenants bounds the memory for tenants: of so many the log numbers the events and proves them complete. Default:
	// 1,048,576, some 300 bytes to 1 KiB each. The events of others are recorded without numbers and head leaves, and so
	// are those of tenants of which the log has seen nothing but denials without a Sealer ([Stats] counts them).
	Tenants int
	// Signer signs the checkpoints instead of the key file that the log would make; Verifier is its public key in the
	// form of golang.org/x/mod/sumdb/note, and both must be set. Sign is called from the goroutine that writes the
	// log: while it runs, no event becomes durable. Signatures must be a function of what is signed, as those of Ed25519
	// are: with a signer of another kind the last events before a crash cannot be told from forged ones, and are
	// recorded and reported as not authenticated. Each signature is checked with Verifier before it is written: after one that is not by
	// that key, as after an error or a panic, the log records nothing more, and opens again with the signer that it had.
	Signer   note.Signer
	Verifier string
	// Retention, if set, has the log compress and delete its old segments ([Log.Retain]) when it is opened, and then each
	// RetainEvery (default 1 h). [Stats] has the error of the last time.
	Retention   *Retention
	RetainEvery time.Duration

	// Telemetry gets spans, metrics and log lines. Default: none.
	Telemetry *Telemetry

	fs          vfs.FS
	now         func() time.Time
	stateEvents int64
	linger      time.Duration // of what nobody waits for
}

// linger is how long an event that nobody waits for may wait for the next one.
const linger = 100 * time.Millisecond

// withDefaults returns a complete copy, or all that is wrong with o.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	set(&c.Service, "strongroom")
	set(&c.Timeout, 2*time.Second)
	set(&c.CheckpointEvery, time.Second)
	set(&c.SegmentBytes, 64<<20)
	set(&c.ReserveBytes, 64<<20)
	set(&c.AheadBytes, 512<<10)
	set(&c.HeadEvery, 1024)
	set(&c.HeadAfter, 10*time.Minute)
	set(&c.Tenants, 1<<20)
	set(&c.RetainEvery, time.Hour)
	set(&c.stateEvents, stateEvents)
	set(&c.linger, linger)
	if c.fs == nil {
		c.fs = vfs.OS{}
	}
	if c.now == nil {
		c.now = time.Now
	}
	var problems []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("Options."+format, args...))
		}
	}
	check(!validOrigin(c.Origin) && c.Origin != "", "Origin: use 1 to 200 printable characters without spaces and plus signs")
	check(len(c.Service) > 200, "Service has %d bytes, over the limit of 200", len(c.Service))
	check(c.Durability != Durable && c.Durability != Written, "Durability is %v; use Durable or Written", c.Durability)
	check(c.Timeout < 0, "Timeout is %v; use a positive time, or 0 for 2s", c.Timeout)
	check(c.CheckpointEvery < 0, "CheckpointEvery is %v; use a positive time, or 0 for 1s", c.CheckpointEvery)
	check(c.SegmentBytes < 0 || c.SegmentBytes > 64<<20, "SegmentBytes is %d; use at most %d, or 0 for that", c.SegmentBytes, 64<<20)
	check(c.ReserveBytes < -1, "ReserveBytes is %d; use -1 for none, or 0 for 64 MiB", c.ReserveBytes)
	check(c.AheadBytes < -1 || c.AheadBytes > 64<<20, "AheadBytes is %d; use at most %d, -1 for none, or 0 for 512 KiB", c.AheadBytes, 64<<20)
	check(c.HeadEvery < 0, "HeadEvery is %d; use a positive number, or 0 for 1024", c.HeadEvery)
	check(c.HeadAfter < 0, "HeadAfter is %v; use a positive time, or 0 for 10m", c.HeadAfter)
	check(c.RetainEvery < 0, "RetainEvery is %v; use a positive time, or 0 for 1h", c.RetainEvery)
	if err := c.Retention.check(); err != nil {
		problems = append(problems, err)
	}
	check(c.Tenants < 0, "Tenants is %d; use a positive number, or 0 for 1048576", c.Tenants)
	check((c.Signer == nil) != (c.Verifier == ""), "Signer and Verifier go together; set both or neither")
	if c.Signer != nil && c.Verifier != "" {
		v, err := note.NewVerifier(c.Verifier)
		check(err != nil, "Verifier is not a verifier key of the form name+hash+key")
		check(err == nil && (v.Name() != c.Signer.Name() || v.KeyHash() != c.Signer.KeyHash()), "Verifier is not the Signer's: name or key hash differs")
		if err == nil {
			set(&c.Origin, v.Name())
			check(c.Origin != v.Name(), "Origin differs from the Verifier's name; a checkpoint is signed in its origin's name")
		}
	}
	if len(problems) > 0 {
		return Options{}, fmt.Errorf("audit: invalid options: %w", errors.Join(problems...))
	}
	return c, nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validOrigin tells whether s may name a key of a signed note (golang.org/x/mod/sumdb/note) and stand in one line.
func validOrigin(s string) bool {
	return s != "" && len(s) <= 200 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '+' || r == '"' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}
