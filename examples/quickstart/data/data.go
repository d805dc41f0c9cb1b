// Package data is what the quickstart works with: invented patients of three clinics and their visits, shipped as CSV
// files, and scans, which are generated. Two of the clinics use the same primary keys and the same social security
// numbers for different people.
package data

import (
	"bytes"
	"database/sql"
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

//go:generate go run ./gen

//go:embed patients.csv
var patientsCSV []byte

//go:embed visits.csv
var visitsCSV []byte

// null stands for NULL in the files.
const null = `\N`

// Patient is a row of patients.csv.
type Patient struct {
	Clinic  string
	ID      int64
	Name    string
	SSN     sql.Null[string]
	Born    sql.Null[time.Time]
	Insurer sql.Null[string]
	Notes   sql.Null[string]
}

// Visit is a row of visits.csv.
type Visit struct {
	Clinic     string
	ID         int64
	PatientID  int64
	Day        time.Time
	Department string
	Finding    sql.Null[string]
}

// Departments are the reference data that visits refer to: a title for each code.
var Departments = map[string]string{
	"CARD": "Cardiology", "DERM": "Dermatology", "NEUR": "Neurology", "PAED": "Paediatrics", "ONCO": "Oncology",
}

// Patients reads patients.csv.
func Patients() ([]Patient, error) {
	return parse("patients.csv", patientsCSV, 7, func(f fields) (Patient, error) {
		p := Patient{Clinic: f[0], Name: f[2], SSN: f.text(3), Insurer: f.text(5), Notes: f.text(6)}
		var err error
		if p.ID, err = strconv.ParseInt(f[1], 10, 64); err != nil {
			return p, err
		}
		if f[4] != null {
			p.Born.Valid = true
			p.Born.V, err = time.Parse(time.DateOnly, f[4])
		}
		return p, err
	})
}

// Visits reads visits.csv.
func Visits() ([]Visit, error) {
	return parse("visits.csv", visitsCSV, 6, func(f fields) (v Visit, err error) {
		v = Visit{Clinic: f[0], Department: f[4], Finding: f.text(5)}
		if v.ID, err = strconv.ParseInt(f[1], 10, 64); err != nil {
			return v, err
		}
		if v.PatientID, err = strconv.ParseInt(f[2], 10, 64); err != nil {
			return v, err
		}
		v.Day, err = time.Parse(time.DateOnly, f[3])
		return v, err
	})
}

type fields []string

func (f fields) text(i int) sql.Null[string] {
	if f[i] == null {
		return sql.Null[string]{}
	}
	return sql.Null[string]{V: f[i], Valid: true}
}

func parse[T any](name string, file []byte, columns int, row func(fields) (T, error)) ([]T, error) {
	r := csv.NewReader(bytes.NewReader(file))
	r.FieldsPerRecord = columns
	records, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var rows []T
	for i, record := range records[min(1, len(records)):] { // the first is the header
		parsed, err := row(record)
		if err != nil {
			return nil, fmt.Errorf("%s, row %d: %w", name, i+1, err)
		}
		rows = append(rows, parsed)
	}
	return rows, nil
}

// ScanSize is how long a scan is, in bytes: 4 MiB.
const ScanSize = 4 << 20

// ScanMarker returns the text that stands in a clinic's scan every 64 KiB, as a header would.
func ScanMarker(clinic string) string { return "SCAN OF " + clinic + " STUDY 2024" }

// Scan returns a clinic's scan: [ScanSize] bytes that look like pixels, and the marker among them.
func Scan(clinic string) io.Reader {
	var seed [32]byte
	copy(seed[:], clinic)
	scan := make([]byte, ScanSize)
	_, _ = rand.NewChaCha8(seed).Read(scan) // never fails
	for at := 0; at < len(scan); at += 64 << 10 {
		copy(scan[at:], ScanMarker(clinic))
	}
	return bytes.NewReader(scan)
}
