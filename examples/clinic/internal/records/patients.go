package records

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Patient is somebody a clinic looks after.
type Patient struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Born     string    `json:"born"` // as in 1947-11-03
	Insurer  string    `json:"insurer"`
	Notes    string    `json:"notes"`
	Admitted time.Time `json:"admitted"`
}

// Store is what the handlers have of a clinic's records: of whose, the context says.
type Store struct{ DB *sql.DB }

// ErrAbsent means that this clinic has no such patient. Whether another has, nobody is told.
var ErrAbsent = errors.New("records: no such patient")

// ErrExists means that this clinic has something of that id already.
var ErrExists = errors.New("records: there is one of this id already")

// The statements. None names a tenant, and each runs for exactly one.
const (
	recentPatients = `SELECT id, name, born, insurer, admitted FROM patients ORDER BY admitted DESC, id LIMIT 50`
	namedPatients  = `SELECT id, name, born, insurer, admitted FROM patients WHERE name = $1 ORDER BY admitted DESC, id LIMIT 50`
	onePatient     = `SELECT id, name, born, insurer, admitted, notes FROM patients WHERE id = $1`
	insertPatient  = `INSERT INTO patients (id, name, born, insurer, notes, admitted) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
)

// Recent returns the patients who were admitted last, without notes.
func (s Store) Recent(ctx context.Context) ([]Patient, error) {
	return collect(ctx, s.DB, scanListed, recentPatients)
}

// Named returns the patients of a name, by its blind index: the database sees no name.
func (s Store) Named(ctx context.Context, name string) ([]Patient, error) {
	return collect(ctx, s.DB, scanListed, namedPatients, name)
}

// Patient returns one patient, or [ErrAbsent].
func (s Store) Patient(ctx context.Context, id string) (Patient, error) {
	p, err := scanPatient(s.DB.QueryRowContext(ctx, onePatient, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrAbsent
	}
	return p, err
}

// Admit stores a patient and the visit that brought them here, both or neither; or it returns [ErrExists].
func (s Store) Admit(ctx context.Context, p Patient, first Visit) error {
	born, err := time.Parse(time.DateOnly, p.Born)
	if err != nil {
		return &InvalidError{"born", "use a date as in 1947-11-03"}
	}
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // without effect after Commit
	if err := insert(ctx, tx, insertPatient, p.ID, p.Name, born, p.Insurer, p.Notes, p.Admitted.UnixMilli()); err != nil {
		return err
	}
	if err := insert(ctx, tx, insertVisit, first.args(p.ID)...); err != nil {
		return err
	}
	return tx.Commit()
}

// insert stores a row, or returns [ErrExists].
func insert(ctx context.Context, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, statement string, args ...any) error {
	r, err := db.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrExists
}

// InvalidError says which field of what somebody sent cannot be used. It does not repeat it.
type InvalidError struct{ Field, Hint string }

func (e *InvalidError) Error() string { return "records: the field " + e.Field + ": " + e.Hint }

type row interface{ Scan(...any) error }

func scanListed(r row) (p Patient, err error) { return p, p.scan(r) }

func scanPatient(r row) (p Patient, err error) {
	var notes sql.NullString
	err = p.scan(r, &notes)
	p.Notes = notes.String
	return p, err
}

func (p *Patient) scan(r row, more ...any) error {
	var born sql.NullTime
	var insurer sql.NullString
	var admitted int64
	err := r.Scan(append([]any{&p.ID, &p.Name, &born, &insurer, &admitted}, more...)...)
	p.Insurer, p.Admitted = insurer.String, time.UnixMilli(admitted).UTC()
	if born.Valid {
		p.Born = born.Time.Format(time.DateOnly)
	}
	return err
}

// collect runs a query and scans its rows.
func collect[T any](ctx context.Context, db *sql.DB, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
