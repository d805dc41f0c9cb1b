// Command bench measures Strongroom beside what a user would do otherwise, and prints a table:
//
//	go run ./internal/bench                 all rows
//	go run ./internal/bench -run '^field'   the rows whose id matches
//	go run ./internal/bench -run '^sql\.scale\.[a-z]+$'   those on a million rows, which take a minute to make
//	go run ./internal/bench -run '^keys\.scale$' -tenants 100000   a keyring with very many tenants: ten minutes
//	go run ./internal/bench -run '^audit.open$' -events 5000000   what opening a long log costs: 2 GB, two minutes
//	go run ./internal/bench -run '^audit.open$' -events 100000000 -days 100 -compress -log DIR   a very long one, which is kept: 8 GB, and
//	    up to 40 GB while it is made; to be read by auditctl verify and query
//	go run ./internal/bench -run '^sql.reseal' -values 1000000   a tenant of a million values goes to a new key: a quarter of an hour
//	go run ./internal/bench -run '^audit.cost$'   latencies and events a second of each recorder: a minute
//	go run ./internal/bench -run '^field' -cpuprofile f   where the time goes, for go tool pprof
//	go run ./internal/bench -json           [{"id","ours_ns","peer","peer_ns","ratio","spread","allocs"}]
//
// Every figure is a time per operation (for ids that end in .memory: bytes), so lower is better and ratio is ours
// divided by the alternative's. Both are measured in turns in one run, and the figures are medians of the turns: the
// machines this runs on are small and noisy. Spread is the interquartile range of the turns' ratios, relative to
// their median. Figures that stand beside nothing (keys.scale) have a unit. No figure makes the command fail; a row that cannot run is reported on standard error and left out.
//
// To add rows, write a function that returns them in a file of its own, and name it in allRows.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"slices"
	"text/tabwriter"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

func allRows(end *ending) []Row {
	return slices.Concat(fieldRows(), keyRows(), sqlRows(end), pgxRows(end), scaleRowsOf(end), resealRows(), auditRows(), auditPGRows(), blobRows(), telemetryRows())
}

// ending is what has to be done once all rows are measured, for what several of them share.
type ending struct{ todo []func() }

func (e *ending) then(f func()) { e.todo = append(e.todo, f) }

func (e *ending) run() {
	for _, f := range slices.Backward(e.todo) {
		f()
	}
}

func main() { os.Exit(testenv.Run(run)) }

func run() int {
	pattern := flag.String("run", "", "run only the rows whose id matches this regular expression")
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	profile := flag.String("cpuprofile", "", "write a profile of both sides, their setup included, to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: -cpuprofile:", err)
			return 2
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	match, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -run:", err)
		return 2
	}
	results := []Result{}
	defer func() {
		if dir, err := runDir(); err == nil {
			removeRunDir(dir)
		}
	}()
	end := &ending{}
	defer end.run()
	for _, row := range allRows(end) {
		if !match.MatchString(row.ID) {
			continue
		}
		r, err := row.measure()
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s cannot run: %v\n", row.ID, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s done\n", row.ID)
		results = append(results, r)
	}
	for _, f := range slices.Concat(keyScaleFigures(), auditOpenFigures(), auditCostFigures()) {
		if !match.MatchString(f.ID) {
			continue
		}
		r, err := f.Measure()
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s cannot run: %v\n", f.ID, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s done\n", f.ID)
		results = append(results, r...)
	}
	print := printTable
	if *asJSON {
		print = func(w io.Writer, results []Result) error { return json.NewEncoder(w).Encode(results) }
	}
	if err := print(os.Stdout, results); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func printTable(out io.Writer, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "id\tours\tthe alternative\tratio\tspread\tallocs\t  alternative")
	for _, r := range results {
		if r.PeerNS == 0 {
			fmt.Fprintf(w, "%s\t%s\t\t\t\t\t  %s\n", r.ID, figure(r.ID, r.Unit, r.Ours), r.Peer)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t±%.0f%%\t%.1f\t  %s\n", r.ID, figure(r.ID, "", r.Ours), figure(r.ID, "", r.PeerNS), r.Ratio, 50*r.Spread, r.Allocs, r.Peer)
	}
	return w.Flush()
}
