package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

func doctorCommand() command {
	return command{
		name: "doctor", usage: "check an installation, and say what to fix",
		about: `Checks what the configuration names, changes nothing, and says for each finding what to fix:

  files      owners and permissions of the configuration, of secrets, keys and records
  kek        the file of the key-encryption keys; or Vault: the login and how long it lasts, and whether the token may do
             what the operators' policy says, and no more (sys/capabilities-self)
  store      whether it is reachable and its table fits; on PostgreSQL what this role and others may do there
  tenants    records that cannot be read, and for some tenants whether the keys open
  audit      the trail's directory, its free space, and whether the trail is intact
  databases  every problem that sqldb.Open finds, with what mends it
  buckets    whether they are reachable; on S3 what stays of deleted objects
  clocks     how far those of Vault, PostgreSQL and S3 are from this machine's

The exit status is 1 where there is a problem; warnings alone leave it 0.`,
		examples: []string{`doctor`, `doctor -json`},
		run:      runDoctor,
	}
}

// level is how bad a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warning"
	problem level = "problem"
)

// finding is a line of doctor -json.
type finding struct {
	Check string `json:"check"` // files, kek, store, tenants, audit, databases, buckets or clocks
	Level level  `json:"level"` // ok, warning or problem
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`
}

// examinedShape is the last line of doctor -json.
type examinedShape struct {
	Command  string `json:"command"`
	Problems int    `json:"problems"`
	Warnings int    `json:"warnings"`
}

// doctor is an examination under way. What cannot be opened is a finding, and the rest goes on without it.
type doctor struct {
	*call
	s      *session
	counts map[level]int
	err    error // of printing
}

func runDoctor(ctx context.Context, c *call) error {
	cfg, err := readConfig(c.String("config"))
	if err != nil {
		return err
	}
	d := &doctor{call: c, s: &session{config: cfg}, counts: map[level]int{}}
	c.session = d.s
	for _, check := range []func(context.Context){d.files, d.kek, d.store, d.tenants, d.audit, d.databases, d.buckets} {
		if check(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	problems, warnings := d.counts[problem], d.counts[warning]
	if err := errors.Join(d.err, c.print(examinedShape{c.Name, problems, warnings}, "doctor: %d problems, %d warnings", problems, warnings)); err != nil {
		return err
	}
	if problems > 0 {
		return &failure{"findings", fmt.Errorf("%d problems: see above for what to fix", problems)}
	}
	return nil
}

// find reports a finding.
func (d *doctor) find(check string, l level, fix, format string, args ...any) {
	d.counts[l]++
	f := finding{check, l, d.withheld(fmt.Sprintf(format, args...)), d.withheld(fix)}
	text := fmt.Sprintf("%-7s  %-9s  %s", f.Level, f.Check, f.What)
	if f.Fix != "" {
		text += "\n         fix: " + f.Fix
	}
	d.err = errors.Join(d.err, d.print(f, "%s", text))
}

// The bounds of how far clocks may be apart.
const (
	apartWarning = 5 * time.Second
	apartProblem = time.Minute
)

// clock judges how far a clock is ahead of this machine's, give or take.
func (d *doctor) clock(whose string, ahead, within time.Duration) {
	const fix = "have both follow the same time source (NTP): tokens and certificates are judged by clocks, and events of the trail are put in order by theirs"
	apart, direction := ahead.Abs(), "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	text := fmt.Sprintf("the clock of %s is %v %s this machine's, give or take %v", whose, apart.Round(100*time.Millisecond), direction, within.Round(100*time.Millisecond))
	switch {
	case apart > apartProblem+within:
		d.find("clocks", problem, fix, "%s", text)
	case apart > apartWarning+within:
		d.find("clocks", warning, fix, "%s", text)
	default:
		d.find("clocks", fine, "", "%s", text)
	}
}

// tenants opens the keyring and looks at the tenants.
func (d *doctor) tenants(ctx context.Context) {
	if d.s.store == nil {
		return
	}
	kek := keys.KEK(&lazyKEK{open: func(context.Context) (keys.KEK, error) {
		return nil, fmt.Errorf("%w: see the findings about kek", keys.ErrUnavailable)
	}})
	if d.s.kek != nil {
		kek = d.s.kek
	}
	ring, err := keys.Open(ctx, kek, d.s.store, d.s.config.keyring(unrecorded{}))
	if err != nil {
		d.find("tenants", problem, "correct keyring in the configuration", "the keyring does not open: %v", err)
		return
	}
	d.s.ring, d.s.guard = ring, storage.Guard{Keys: ring, Audit: unrecorded{}}
	d.s.closes(ring.Close)
	const show = 10
	counts, damaged, opened, failed := map[keys.Status]int{}, 0, 0, 0
	bar := d.progress("tenants", -1)
	defer bar.done()
	for l, err := range ring.Tenants(ctx) {
		switch {
		case err != nil && l.ID.IsZero():
			d.find("tenants", problem, "see the store's findings", "the list of tenants ended early: %v", err)
			return
		case err != nil:
			if damaged++; damaged <= show {
				d.find("tenants", problem, "restore the record from a backup of the store", "%v", err)
			}
			continue
		}
		counts[l.Status]++
		bar.at(int64(counts[l.Status]), l.ID.String())
		if d.s.kek != nil && l.Status != keys.StatusShredded && opened < show && failed < 3 {
			opened++
			if err := d.opens(ctx, l.ID); err != nil {
				failed++
				d.find("tenants", problem, "see the findings about kek; where the key-encryption key is gone for good, so is the data", "the keys of %s do not open: %v", l.ID, err)
			}
		}
	}
	if damaged > show {
		d.find("tenants", problem, "restore the store from a backup", "%d more records are damaged", damaged-show)
	}
	d.find("tenants", fine, "", "%d active, %d suspended, %d shredded; the keys of %d were opened", counts[keys.StatusActive], counts[keys.StatusSuspended], counts[keys.StatusShredded], opened-failed)
}

// opens tells whether a tenant's keys open, and on Vault whether their key-encryption key is as it should be.
func (d *doctor) opens(ctx context.Context, id tenant.ID) error {
	if _, err := d.s.ring.Versions(ctx, id, keys.PurposeData); err != nil {
		return err
	}
	return d.s.checkKEK(ctx, id)
}
