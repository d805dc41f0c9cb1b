// Command gen writes patients.csv and visits.csv, the quickstart's data, into the current directory: invented people
// at three clinics. It is deterministic; run it with "go generate" in the directory above.
package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"
)

// null stands for NULL in the CSV files, as in PostgreSQL's COPY.
const null = `\N`

// clinic says whose rows to make. North and south have the same primary keys and the same social security numbers,
// for different people: what tells their rows apart is the tenant and nothing else.
type clinic struct {
	id       string
	patients int
	firstSSN int
	turn     int // by how much the numbers are shifted against the primary keys
}

var clinics = []clinic{
	{"clinic-north", 350, 0, 0},
	{"clinic-south", 360, 0, 11},
	{"clinic-harbour", 340, 10_000, 0},
}

func main() {
	log.SetFlags(0)
	for name, write := range map[string]func(io.Writer) error{"patients.csv": writePatients, "visits.csv": writeVisits} {
		f, err := os.Create(name)
		if err != nil {
			log.Fatal(err)
		}
		if err := write(f); err != nil {
			log.Fatal(err)
		}
		if err := f.Close(); err != nil {
			log.Fatal(err)
		}
	}
}

func random(file string) *rand.Rand {
	var seed [32]byte
	copy(seed[:], "strongroom quickstart "+file)
	return rand.New(rand.NewChaCha8(seed))
}

func writePatients(w io.Writer) error {
	r, out := random("patients"), csv.NewWriter(w)
	rows := [][]string{{"clinic", "id", "name", "ssn", "born", "insurer", "notes"}}
	for _, c := range clinics {
		for i := range c.patients {
			id := i + 1
			rows = append(rows, []string{
				c.id, strconv.Itoa(id), name(r, i),
				maybe(r, 20, ssn(c.firstSSN+(i+c.turn)%c.patients)),
				maybe(r, 25, born(r)), maybe(r, 8, pick(r, insurers)), maybe(r, 10, notes(r, c.id, id)),
			})
		}
	}
	return out.WriteAll(rows)
}

func writeVisits(w io.Writer) error {
	r, out := random("visits"), csv.NewWriter(w)
	rows := [][]string{{"clinic", "id", "patient_id", "day", "department", "finding"}}
	for _, c := range clinics {
		for i := range 2 * c.patients {
			day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(700))
			finding := fmt.Sprintf("%s (finding %s/%04d)", pick(r, findings), c.id, i+1)
			rows = append(rows, []string{
				c.id, strconv.Itoa(i + 1), strconv.Itoa(i/2 + 1), day.Format(time.DateOnly), pick(r, departments), maybe(r, 15, finding),
			})
		}
	}
	return out.WriteAll(rows)
}

// maybe returns NULL once in n times.
func maybe(r *rand.Rand, n int, s string) string {
	if r.IntN(n) == 0 {
		return null
	}
	return s
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// ssn returns a number of the form of a US social security number, from the range that is never assigned to anybody:
// areas 900 to 999 (Social Security Administration, POMS RM 10201.035).
func ssn(n int) string {
	return fmt.Sprintf("9%02d-%02d-%04d", n*7%100, n*13%90+10, n*31%9000+1000)
}

func born(r *rand.Rand) string {
	return time.Date(1920, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(104*365)).Format(time.DateOnly)
}

// name takes each script in turn, and now and then a name that breaks what was not made with care.
func name(r *rand.Rand, i int) string {
	if i%25 == 24 {
		return pick(r, awkward) + " " + strconv.Itoa(r.IntN(900)+100)
	}
	s := scripts[i%len(scripts)]
	return pick(r, s.given) + s.between + pick(r, s.family)
}

// notes returns a text that ends in a marker of its own, by which it can be recognised wherever it might turn up.
func notes(r *rand.Rand, clinic string, id int) string {
	sentences := 1 + r.IntN(4)
	if r.IntN(40) == 0 {
		sentences = 60 + r.IntN(60) // several kilobytes
	}
	var b strings.Builder
	for range sentences {
		b.WriteString(pick(r, remarks))
		b.WriteString(pick(r, []string{" ", "\n", "\n\n", "\t"}))
	}
	fmt.Fprintf(&b, "[note %s/%04d]", clinic, id)
	return b.String()
}
