package story

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
)

func (s *story) read(ctx context.Context) (string, error) {
	want := s.cast.north
	var name, ssn, insurer, notes string
	var born time.Time
	err := s.DB.QueryRowContext(s.north(ctx), "SELECT name, ssn, born, insurer, notes FROM patients WHERE id = $1", want.ID).
		Scan(&name, &ssn, &born, &insurer, &notes)
	if err != nil {
		return "", err
	}
	err = errors.Join(expect("the name", name, want.Name), expect("the SSN", ssn, want.SSN.V), expect("the birthday", born, want.Born.V),
		expect("the insurer", insurer, want.Insurer.V), expect("the note", notes, want.Notes.V))
	return fmt.Sprintf("SELECT … WHERE id = %d: %q, born %s", want.ID, name, born.Format(time.DateOnly)), err
}

// join reads a sealed column of one table, a sealed one of another and a plain one of reference data.
func (s *story) join(ctx context.Context) (string, error) {
	rows, err := s.DB.QueryContext(s.north(ctx), `
		SELECT p.name, v.finding, d.title
		FROM patients p JOIN visits v ON v.patient_id = p.id JOIN departments d ON d.code = v.department
		ORDER BY v.id`)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	want := s.cast.visitsOf(North)
	names := map[int64]string{}
	for _, p := range s.cast.of(North) {
		names[p.ID] = p.Name
	}
	n := 0
	for ; rows.Next(); n++ {
		var name, title string
		var finding sql.Null[string]
		if err := rows.Scan(&name, &finding, &title); err != nil {
			return "", err
		}
		if n >= len(want) || name != names[want[n].PatientID] || finding != want[n].Finding || title != data.Departments[want[n].Department] {
			return "", fmt.Errorf("row %d of the join is not what was stored", n+1)
		}
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	return fmt.Sprintf("a join of three tables: %d visits, each with the right patient, finding and department", n), expect("the number of visits", n, len(want))
}

// search finds by sealed columns: through blind indexes, and by name without regard to case.
func (s *story) search(ctx context.Context) (string, error) {
	want := s.cast.north
	for query, arg := range map[string]string{
		"SELECT id FROM patients WHERE ssn = $1":               want.SSN.V,
		"SELECT id FROM patients WHERE name = $1 AND id < 500": " " + strings.ToUpper(want.Name) + " ",
	} {
		var found []int64
		rows, err := s.DB.QueryContext(s.north(ctx), query, arg)
		if err != nil {
			return "", err
		}
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				rows.Close()
				return "", err
			}
			found = append(found, id)
		}
		if err := rows.Err(); err != nil {
			return "", err
		}
		if err := s.sameIDs(found, query, want); err != nil {
			return "", err
		}
	}
	return "WHERE ssn = $1 and WHERE name = $1 (in any case) find the patient, in encrypted columns", nil
}

// sameIDs compares what a search found with what it should find, which for names can be several patients.
func (s *story) sameIDs(found []int64, query string, want data.Patient) error {
	expected := map[int64]bool{}
	for _, p := range s.cast.of(North) {
		if strings.Contains(query, "ssn") && p.SSN == want.SSN || strings.Contains(query, "name") && p.Name == want.Name {
			expected[p.ID] = true
		}
	}
	for _, id := range found {
		if !expected[id] {
			return fmt.Errorf("%s found patient %d", query, id)
		}
		delete(expected, id)
	}
	if len(expected) > 0 {
		return fmt.Errorf("%s missed %d patients", query, len(expected))
	}
	return nil
}

const newNote = "Diagnosis withheld at the patient's request \u2014 not even the nurse may know."

func (s *story) update(ctx context.Context) (string, error) {
	id := s.cast.north.ID
	if err := s.changes(ctx, 1, "UPDATE patients SET notes = $1 WHERE ssn = $2", newNote, s.cast.north.SSN.V); err != nil {
		return "", err
	}
	var got string
	if err := s.DB.QueryRowContext(s.north(ctx), "SELECT notes FROM patients WHERE id = $1", id).Scan(&got); err != nil {
		return "", err
	}
	return fmt.Sprintf("UPDATE … SET notes = $1 WHERE ssn = $2: 1 row, patient %d", id), expect("the note", got, newNote)
}

// remove deletes a patient with her visits, in a transaction.
func (s *story) remove(ctx context.Context) (string, error) {
	ctx = s.north(ctx)
	id := s.cast.leaver.ID
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	visits, err := tx.ExecContext(ctx, "DELETE FROM visits WHERE patient_id = $1", id)
	if err != nil {
		return "", err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM patients WHERE id = $1", id); err != nil {
		return "", err
	}
	if err := tx.Commit(); err != nil {
		return "", err
	}
	n, err := visits.RowsAffected()
	if err != nil {
		return "", err
	}
	left, err := s.count(s.south(ctx), "SELECT count(*) FROM patients p JOIN visits v ON v.patient_id = p.id WHERE p.id = $1", id)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("DELETE of patient %d and %d visits in a transaction; South's patient %d still has %d", id, n, id, left),
		errors.Join(expect("the number of visits deleted", n, 2), expect("the number of South's visits", left, 2))
}

// changes runs a statement for North and checks how many rows it changed.
func (s *story) changes(ctx context.Context, want int64, query string, args ...any) error {
	result, err := s.DB.ExecContext(s.north(ctx), query, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n != want {
		err = fmt.Errorf("%s changed %d rows instead of %d", query, n, want)
	}
	return err
}

func (s *story) count(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.DB.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// readScan reads a scan whole, and a piece out of its middle.
func (s *story) readScan(ctx context.Context) (string, error) {
	ctx = s.north(ctx)
	want, err := io.ReadAll(data.Scan(North.String()))
	if err != nil {
		return "", err
	}
	got, err := s.Bucket.ReadAll(ctx, scanKey)
	if err != nil {
		return "", err
	}
	const at, length = 3<<20 - 100, 200
	r, err := s.Bucket.NewRangeReader(ctx, scanKey, at, length, nil)
	if err != nil {
		return "", err
	}
	piece, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return "", err
	}
	if !bytes.Equal(got, want) || !bytes.Equal(piece, want[at:at+length]) {
		return "", errors.New("the scan is not what was stored")
	}
	return fmt.Sprintf("the scan comes back, %d bytes, and %d bytes from its middle without reading the rest", len(got), length), nil
}
