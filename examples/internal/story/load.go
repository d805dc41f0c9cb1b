package story

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
	"github.com/strongroom-go/strongroom/tenant"
)

var clinics = []tenant.ID{North, South, Harbour}

// provision makes the clinics' keys.
func (s *story) provision(ctx context.Context) (string, error) {
	for _, clinic := range clinics {
		if err := s.Keys.Provision(ctx, clinic); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d tenants have keys of their own", len(clinics)), nil
}

// loadDepartments writes reference data, which the owner does through the raw handle: tenants can only read it.
func (s *story) loadDepartments(ctx context.Context) (string, error) {
	for code, title := range data.Departments {
		if _, err := s.RawDB.ExecContext(ctx, s.raw("INSERT INTO departments (code, title) VALUES ($1, $2)"), code, title); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d departments, shared by all", len(data.Departments)), nil
}

func (s *story) loadPatients(ctx context.Context) (string, error) {
	bar := s.Progress(len(s.cast.patients), "patients")
	for _, clinic := range clinics {
		var rows [][]any
		for _, p := range s.cast.of(clinic) {
			rows = append(rows, []any{p.ID, p.Name, p.SSN, p.Born, p.Insurer, p.Notes})
		}
		if err := s.insert(as(ctx, clinic, "import"), "patients (id, name, ssn, born, insurer, notes)", rows, bar); err != nil {
			return "", err
		}
	}
	_ = bar.Finish()
	return fmt.Sprintf("%d patients from patients.csv; names, numbers, birthdays and notes are sealed", len(s.cast.patients)), nil
}

func (s *story) loadVisits(ctx context.Context) (string, error) {
	bar := s.Progress(len(s.cast.visits), "visits")
	for _, clinic := range clinics {
		var rows [][]any
		for _, v := range s.cast.visitsOf(clinic) {
			rows = append(rows, []any{v.ID, v.PatientID, v.Day, v.Department, v.Finding})
		}
		if err := s.insert(as(ctx, clinic, "import"), "visits (id, patient_id, day, department, finding)", rows, bar); err != nil {
			return "", err
		}
	}
	_ = bar.Finish()
	return fmt.Sprintf("%d visits from visits.csv; findings are sealed", len(s.cast.visits)), nil
}

// batch is how many rows one INSERT has.
const batch = 100

// insert adds the rows of one tenant, the one in ctx, in one transaction. There is no tenant in the SQL.
func (s *story) insert(ctx context.Context, into string, rows [][]any, bar Bar) error {
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for some := range slices.Chunk(rows, batch) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO "+into+" VALUES "+placeholders(len(some), len(some[0])), slices.Concat(some...)...); err != nil {
			return err
		}
		_ = bar.Add(len(some)) // a progress bar that cannot be drawn is no reason to stop
	}
	return tx.Commit()
}

// placeholders returns ($1,$2),($3,$4) for two rows of two columns.
func placeholders(rows, columns int) string {
	var b strings.Builder
	for n := range rows * columns {
		switch {
		case n == 0:
			b.WriteByte('(')
		case n%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", n+1)
	}
	return b.String() + ")"
}

// scanKey is the key of a scan at every clinic, and southsKey one that only South has.
const (
	scanKey   = "scans/0001.dcm"
	southsKey = "scans/south-only.dcm"
)

func (s *story) loadScans(ctx context.Context) (string, error) {
	bar := s.Progress(len(clinics)*data.ScanSize, "scans")
	for _, clinic := range clinics {
		if err := s.upload(as(ctx, clinic, "import"), scanKey, io.TeeReader(data.Scan(clinic.String()), barWriter{bar})); err != nil {
			return "", err
		}
	}
	_ = bar.Finish()
	if err := s.upload(s.south(ctx), southsKey, strings.NewReader(data.ScanMarker(South.String()))); err != nil {
		return "", err
	}
	return fmt.Sprintf("a scan of %d MiB for each, under the same key %s", data.ScanSize>>20, scanKey), nil
}

// upload stores an object. Cancelling the context keeps a half-written one from being stored.
func (s *story) upload(ctx context.Context, key string, content io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.Bucket.NewWriter(ctx, key, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, content); err != nil {
		cancel()
		_ = w.Close()
		return err
	}
	return w.Close()
}

// barWriter moves a bar by what is written.
type barWriter struct{ bar Bar }

func (w barWriter) Write(p []byte) (int, error) {
	_ = w.bar.Add(len(p))
	return len(p), nil
}
