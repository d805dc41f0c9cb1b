package records

import (
	"context"
	"time"
)

// Visit is one of a patient's. Ward is a plain column, which the clinic counts by; what was found is sealed.
type Visit struct {
	ID      string    `json:"id"`
	Day     time.Time `json:"day"`
	Ward    string    `json:"ward"`
	Finding string    `json:"finding"`
}

// Scan is a picture of a patient's. Its content is in the bucket, under [Scan.Key].
type Scan struct {
	ID          string    `json:"id"`
	Patient     string    `json:"patient"`
	ContentType string    `json:"content_type"`
	Title       string    `json:"title"`
	Taken       time.Time `json:"taken"`
}

const (
	insertVisit   = `INSERT INTO visits (id, patient_id, day, ward, finding) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	patientVisits = `SELECT id, day, ward, finding FROM visits WHERE patient_id = $1 ORDER BY day DESC, id LIMIT 100`
	// wardDays joins and groups by plain columns. What is sealed can be neither sorted nor grouped by.
	wardDays     = `SELECT v.ward, count(*) FROM visits v JOIN patients p ON p.id = v.patient_id GROUP BY v.ward ORDER BY v.ward`
	insertScan   = `INSERT INTO scans (id, patient_id, content_type, title, taken) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	patientScans = `SELECT id, patient_id, content_type, title, taken FROM scans WHERE patient_id = $1 ORDER BY taken DESC, id LIMIT 100`
)

// AddVisit stores a visit, or returns [ErrExists]. Of a patient that this clinic does not have, the foreign key refuses it.
func (s Store) AddVisit(ctx context.Context, patient string, v Visit) error {
	return insert(ctx, s.DB, insertVisit, v.args(patient)...)
}

func (v Visit) args(patient string) []any {
	return []any{v.ID, patient, v.Day.UnixMilli(), v.Ward, v.Finding}
}

// Visits returns a patient's visits, the newest first.
func (s Store) Visits(ctx context.Context, patient string) ([]Visit, error) {
	return collect(ctx, s.DB, func(r row) (v Visit, err error) {
		var day int64
		err = r.Scan(&v.ID, &day, &v.Ward, &v.Finding)
		v.Day = time.UnixMilli(day).UTC()
		return v, err
	}, patientVisits, patient)
}

// Ward is how many visits a ward had.
type Ward struct {
	Name   string `json:"name"`
	Visits int    `json:"visits"`
}

// Wards counts visits by ward.
func (s Store) Wards(ctx context.Context) ([]Ward, error) {
	return collect(ctx, s.DB, func(r row) (w Ward, err error) { return w, r.Scan(&w.Name, &w.Visits) }, wardDays)
}

// AddScan stores what is to be known of a scan, or returns [ErrExists]. Its content goes into the bucket before, or, by a token, afterwards.
func (s Store) AddScan(ctx context.Context, c Scan) error {
	return insert(ctx, s.DB, insertScan, c.ID, c.Patient, c.ContentType, c.Title, c.Taken.UnixMilli())
}

// Scans returns a patient's scans, the newest first.
func (s Store) Scans(ctx context.Context, patient string) ([]Scan, error) {
	return collect(ctx, s.DB, func(r row) (c Scan, err error) {
		var taken int64
		err = r.Scan(&c.ID, &c.Patient, &c.ContentType, &c.Title, &taken)
		c.Taken = time.UnixMilli(taken).UTC()
		return c, err
	}, patientScans, patient)
}

// Key is the object's key in the bucket. It has no name of anybody in it: without [blobs.Options.SealNames] the store sees it.
func (c Scan) Key() string { return c.Patient + "/" + c.ID }
