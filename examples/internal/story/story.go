// Package story is what the quickstart tells, and what the integration test checks on real servers: three clinics that
// share one database and one bucket, and what happens when one of them, or somebody with the disks, reaches for what
// is another's. Every line that is printed has been checked; the first that does not hold ends the story.
package story

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

// The clinics. North and South use the same primary keys and the same social security numbers for different people.
var (
	North   = tenant.MustParse("clinic-north")
	South   = tenant.MustParse("clinic-south")
	Harbour = tenant.MustParse("clinic-harbour")
)

// World is where the story takes place: an empty database with the tables of [Tables], an empty bucket, and what
// guards them. All fields but Progress are required.
type World struct {
	// DB is the guarded database and Bucket the guarded bucket: what an application has.
	DB     *sql.DB
	Bucket *blob.Bucket
	// RawDB and RawBucket are the same two without a guard and without row-level security: what an administrator
	// has, or a thief of the disks.
	RawDB     *sql.DB
	RawBucket *blob.Bucket
	Dialect   dialect.Dialect

	Keys     *keys.Keyring
	Log      *audit.Log
	AuditDir string
	// AtRest lists all places that were written to; they are searched for plaintext. See [Files], [Rows] and [Objects].
	AtRest []Place

	// Out is told the story.
	Out io.Writer
	// Progress shows how far long work is, in steps of any kind; nil shows nothing.
	Progress func(total int, what string) Bar
}

// Bar is a progress bar, such as *progressbar.ProgressBar.
type Bar interface {
	Add(n int) error
	Finish() error
}

type noBar struct{}

func (noBar) Add(int) error { return nil }
func (noBar) Finish() error { return nil }

// story is a World and what is known about it while the story goes on.
type story struct {
	World
	cast    *cast
	refused []string // the texts of all errors so far, which must not hold anybody's data
}

// A step is a heading and claims; a claim returns the line that says what held, or why it did not.
type step struct {
	title  string
	claims []claim
}

type claim func(context.Context) (string, error)

// Run tells the story. It returns an error that names the step and the claim's failure as soon as one does not hold.
func Run(ctx context.Context, w World) error {
	if w.Progress == nil {
		w.Progress = func(int, string) Bar { return noBar{} }
	}
	people, err := newCast()
	if err != nil {
		return err
	}
	s := &story{World: w, cast: people}
	for i, step := range s.steps() {
		fmt.Fprintf(w.Out, "\n%d. %s\n", i+1, step.title)
		for _, holds := range step.claims {
			line, err := holds(ctx)
			if err != nil {
				fmt.Fprintf(w.Out, "   FAILED\n")
				return fmt.Errorf("step %d (%s): %w", i+1, step.title, err)
			}
			fmt.Fprintf(w.Out, "   ok  %s\n", strings.ReplaceAll(line, "\n", "\n       "))
		}
	}
	return nil
}

func (s *story) steps() []step {
	return []step{
		{"Three clinics move into one database and one bucket", []claim{s.provision, s.loadDepartments, s.loadPatients, s.loadVisits, s.loadScans}},
		{"Clinic North works as usual: plain database/sql, plain blob", []claim{s.read, s.join, s.search, s.update, s.remove, s.readScan}},
		{"North cannot see what is South's", []claim{s.samePrimaryKey, s.foreignPrimaryKey, s.sameSSN, s.foreignSSN, s.writeForeign, s.sameObjectKey, s.foreignObjectKey, s.listing}},
		{"What cannot be proven safe is refused, and says why", []claim{s.noTenant, s.ddl, s.unknownTable, s.sealedRange, s.errorsAreDiscreet}},
		{"What the database and the bucket really hold", []claim{s.sealedValue, s.sealedTwice, s.sealedObject}},
		{"Somebody with the database password moves values around", []claim{s.moveBetweenTenants, s.moveBetweenColumns, s.moveObject}},
		{"South is suspended, at once", []claim{s.suspend, s.suspendedObject, s.othersGoOn}},
		{"The audit trail has it all", []claim{s.trail, s.alerts, s.verify, s.forge}},
		{"Nothing that was written shows a patient", []claim{s.scanEverything}},
	}
}

// as returns a context for an actor of a clinic, as a web service's middleware would (see tenant.Middleware).
func as(ctx context.Context, clinic tenant.ID, actor string) context.Context {
	return tenant.NewContext(ctx, tenant.Access{Tenant: clinic, Actor: actor, Purpose: "treatment", Request: "quickstart"})
}

func (s *story) north(ctx context.Context) context.Context { return as(ctx, North, "dr.adams") }
func (s *story) south(ctx context.Context) context.Context { return as(ctx, South, "dr.baker") }

// expect says that got is not want, without either, since they may be a patient's.
func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s is not what was stored", what)
	}
	return nil
}

// expectError checks that err is of the kind that want is and remembers its text.
func (s *story) expectError(err, want error) error {
	switch {
	case err == nil:
		return fmt.Errorf("there was no error; expected: %w", want)
	case !errors.Is(err, want):
		return fmt.Errorf("expected %q, and the error is another: %w", want, err)
	}
	s.refused = append(s.refused, err.Error())
	return nil
}

// lastRefusal is the text of the last error, in lines that fit a terminal.
func (s *story) lastRefusal() string {
	if len(s.refused) == 0 {
		return ""
	}
	const width = 100
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(s.refused[len(s.refused)-1]) {
		switch n := utf8.RuneCountInString(word); {
		case column > 0 && column+1+n > width:
			b.WriteByte('\n')
			column = n
		case column > 0:
			b.WriteByte(' ')
			column += 1 + n
		default:
			column = n
		}
		b.WriteString(word)
	}
	return b.String()
}
