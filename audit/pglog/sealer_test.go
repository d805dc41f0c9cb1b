package pglog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/tenant"
)

const sealDir = "STRONGROOM_PGLOG_SEAL_DIR"

// sealUntilKilled is the process that TestSealerKilled kills.
func sealUntilKilled(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "sealer:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	l, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute, CheckpointEvery: 20 * time.Millisecond, SegmentBytes: 128 << 10})
	fail(err)
	config, err := pgx.ParseConfig(os.Getenv(sealDir + "_URL"))
	fail(err)
	signer, err := note.NewSigner(os.Getenv(sealDir + "_KEY"))
	fail(err)
	for {
		s, err := pglog.OpenSealer(ctx, config, l, pglog.SealOptions{Signers: []note.Signer{signer}, Every: time.Millisecond, Rows: 40,
			Progress: func(s pglog.Sealed, err error) { fmt.Println(s.Events, err) }})
		if errors.Is(err, pglog.ErrSealing) { // the server has not noticed yet that the one before was killed
			time.Sleep(5 * time.Millisecond)
			continue
		}
		fail(err)
		fail(s.Run(ctx))
	}
}

// load records until stop is closed, in several streams that come and go, and returns what was acknowledged.
func (tr *trail) load(t *testing.T, stop <-chan struct{}) func() map[string]bool {
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for p := range 3 {
		wg.Go(func() {
			for life := 0; ; life++ {
				s, err := pglog.Open(t.Context(), parse(t, tr.recorder), pglog.Options{Table: tr.table, StreamOptions: audit.StreamOptions{Signer: tr.signer, Timeout: time.Minute}})
				if err != nil {
					t.Error(err)
					return
				}
				var callers sync.WaitGroup
				for c := range 4 {
					callers.Go(func() {
						for i := range 25 {
							request := fmt.Sprintf("%d %d %d %d", p, life, c, i)
							if err := s.Record(t.Context(), event("tenant-"+fmt.Sprint(c), request)); err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							acked[request] = true
							mu.Unlock()
						}
					})
				}
				callers.Wait()
				if err := s.Close(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	return func() map[string]bool { wg.Wait(); return acked }
}

// TestSealerKilled kills a sealer under load, again and again, wherever it is. The log has everything, once and without gaps.
func TestSealerKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tr, dir := newTrail(t), newDir(t)
	stop := make(chan struct{})
	wait := tr.load(t, stop)
	const kills = 12
	for round := range kills {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), sealDir+"="+dir, sealDir+"_URL="+tr.sealer, sealDir+"_KEY="+tr.secret)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed once it has got somewhere, at another point each time.
		if _, err := out.Read(make([]byte, 256)); err != nil {
			t.Fatalf("round %d: the sealer ended: %v", round, err)
		}
		time.Sleep(time.Duration(round*1700) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed
	}
	close(stop)
	acked := wait()
	tr.allSealed(t, dir, acked)
	t.Logf("%d events, of which the last sealings found %d audit.recovered", len(acked), len(read(t, dir, &audit.Filter{Code: audit.CodeLogRecovered})))
}

// allSealed seals what is left, and compares the log with what was acknowledged.
func (tr *trail) allSealed(t *testing.T, dir string, acked map[string]bool) {
	t.Helper()
	var sealed pglog.Sealed
	var report *audit.Report
	for sealed.More = true; sealed.More; {
		deadline := time.Now().Add(time.Minute)
		for tr.count(t, `EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory')`) > 0 && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond) // the server has not noticed yet that the last sealer is gone
		}
		sealed, report = tr.seal(t, dir)
	}
	if n := tr.count(t, "true"); n != 0 || report.Missing != 0 || report.Refusals != 0 || report.OpenStreams != 0 {
		t.Errorf("%d rows are left in the table\n%s", n, report)
	}
	seen := requests(t, dir)
	for request := range acked {
		if seen[request] != 1 {
			t.Errorf("%s was acknowledged and is in the log %d times", request, seen[request])
		}
	}
	for request, n := range seen {
		if n != 1 {
			t.Errorf("%s is in the log %d times", request, n)
		}
	}
	if len(acked) < 100 {
		t.Errorf("only %d events were acknowledged", len(acked))
	}
}

// TestSealerBroken: the sealer's connections break under load, in either direction and by the server, and it goes on.
func TestSealerBroken(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	r, through := testenv.NewRelay(t, tr.sealer)
	l := openLog(t, dir)
	var mu sync.Mutex
	failures, repeated := 0, 0
	s, err := pglog.OpenSealer(t.Context(), parse(t, through), l, pglog.SealOptions{Signers: []note.Signer{tr.signer}, Every: time.Millisecond, Rows: 40,
		Progress: func(s pglog.Sealed, err error) {
			mu.Lock()
			defer mu.Unlock()
			if repeated += s.Repeated; err != nil {
				failures++
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := make(chan struct{})
	wait := tr.load(t, stop)
	for i := range 8 {
		<-r.Lose([]string{"replies", "requests"}[i%2])
		r.Cut()
	}
	mustExec(t, tr.super, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'strongroom-seal'`)
	close(stop)
	acked := wait()
	for deadline := time.Now().Add(time.Minute); tr.count(t, "true") > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	end()
	if err := errors.Join(<-ended, s.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	tr.allSealed(t, dir, acked)
	mu.Lock()
	defer mu.Unlock()
	if failures == 0 {
		t.Error("nothing broke")
	}
	t.Logf("%d rounds failed, %d rows were read again", failures, repeated)
}

// TestOneSealer: a table is sealed by one sealer at a time, into one log.
func TestOneSealer(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	record(t, tr.open(t, tr.recorder, time.Minute), "one")
	first, second := openLog(t, dir), openLog(t, newDir(t))
	open := func(l *audit.Log) (*pglog.Sealer, error) {
		return pglog.OpenSealer(t.Context(), parse(t, tr.sealer), l, pglog.SealOptions{Signers: []note.Signer{tr.signer}})
	}
	s, err := open(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(second); !errors.Is(err, pglog.ErrSealing) {
		t.Errorf("a second sealer: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var another *pglog.Sealer
	for another, err = open(second); errors.Is(err, pglog.ErrSealing); another, err = open(second) {
		time.Sleep(5 * time.Millisecond)
	}
	if err == nil || !strings.Contains(err.Error(), "two logs would each have a part") {
		t.Errorf("another log: %v %v", another, err)
	}
	for s, err = open(first); errors.Is(err, pglog.ErrSealing); s, err = open(first) {
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Its session ends, and somebody else is faster: it does not go on.
	mustExec(t, tr.super, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'strongroom-seal'`)
	holder := connect(t, tr.super)
	if _, err := holder.Exec(t.Context(), `SELECT pg_advisory_lock($1::int8 << 32 | 'strongroom_audit'::regclass::oid::int8)`, 0x53526c67); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cannot seal the table", "another sealer"} { // the server may not have come to say why
		if sealed, err := s.Round(t.Context()); err == nil || !strings.Contains(err.Error(), want) || sealed.Events != 0 {
			t.Errorf("without the lock: %+v, %v; want an error with %q", sealed, err, want)
		}
	}
	holder.Close(t.Context())
	written, err := audit.OpenLog(newDir(t), &audit.Options{Durability: audit.Written, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	if _, err := open(written); err == nil || !strings.Contains(err.Error(), "Durable") {
		t.Errorf("a log that may lose what was deleted: %v", err)
	}
}

// TestDeletedAndChangedRows: who may do anything in the database can take rows away or change them, and not unseen.
func TestDeletedAndChangedRows(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder, time.Minute)
	record(t, s, "1", "2", "3", "4", "5", "6")
	mustExec(t, tr.super, `DELETE FROM `+tr.table+` WHERE number IN (3, 4)`,
		`UPDATE `+tr.table+` SET line = convert_to(replace(convert_from(line, 'UTF8'), 'clinic', 'casino'), 'UTF8') WHERE number = 6`)
	sealed, report := tr.seal(t, dir)
	if sealed.Events != 4 || sealed.Refused != 1 || len(sealed.Gaps) != 2 || report.Missing != 3 || report.Refusals != 1 || report.OpenStreams != 1 {
		t.Errorf("%+v\n%s", sealed, report)
	}
	// Copies of rows that were sealed are put back: they are known.
	record(t, s, "7")
	mustExec(t, tr.super, `CREATE TABLE copies AS SELECT * FROM `+tr.table+` WHERE NOT refused`)
	tr.seal(t, dir)
	mustExec(t, tr.super, `INSERT INTO `+tr.table+` SELECT * FROM copies`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sealed, report = tr.seal(t, dir)
	if sealed.Events != 1 || sealed.Repeated != 1 || report.Missing != 3 || len(report.Gaps) != 2 || report.OpenStreams != 0 {
		t.Errorf("%+v\n%s", sealed, report)
	}
	want := map[string]int{"1": 1, "4": 1, "6": 1, "7": 1}
	if seen := requests(t, dir); fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("the log has %v, want %v", seen, want)
	}
	if got := read(t, dir, &audit.Filter{Code: audit.CodeStreamGap}); len(got) != 3 {
		t.Errorf("%d events about what is missing", len(got))
	}
}

// TestManyStreams: more streams than one round has room for take turns, and all are sealed.
func TestManyStreams(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	for i := range 7 {
		s := tr.open(t, tr.recorder, time.Minute)
		for j := range i {
			record(t, s, fmt.Sprint(i, " ", j))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := openLog(t, dir)
	s, err := pglog.OpenSealer(t.Context(), parse(t, tr.sealer), l, pglog.SealOptions{Signers: []note.Signer{tr.signer}, Rows: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, rounds := 0, 0
	for more := true; more; rounds++ {
		sealed, err := s.Round(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		events += sealed.Events
		more = sealed.More
	}
	if n := tr.count(t, "true"); events != 7*2+21 || n != 0 || rounds < 5 {
		t.Errorf("%d events in %d rounds, %d rows left", events, rounds, n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := audit.Verify(t.Context(), dir, nil); err != nil || report.Missing != 0 || report.Streams != 7 || report.OpenStreams != 0 {
		t.Errorf("%v\n%s", err, report)
	}
}

// TestSealedTenants: the log numbers and proves the tenants of the streams.
func TestSealedTenants(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	s := tr.open(t, tr.recorder, time.Minute)
	record(t, s, "a", "b")
	denied := event("invented", "")
	denied.Phase, denied.Status = audit.Single, audit.Denied
	if err := errors.Join(s.Record(t.Context(), denied), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, report := tr.seal(t, dir)
	var numbers []int64
	for _, e := range read(t, dir, &audit.Filter{Tenant: tenant.MustParse("acme"), Code: audit.CodeQuery}) {
		numbers = append(numbers, e.Sequence)
	}
	if !slices.Equal(numbers, []int64{1, 2}) || report.Tenants != 1 || report.Heads != 1 || report.Uncovered != 0 || report.Unnumbered != 1 {
		t.Errorf("numbers %v\n%s", numbers, report)
	}
}

// TestKeys: a sealer with another key than the recorders' leaves their rows alone, and one with both seals them all.
func TestKeys(t *testing.T) {
	tr, dir := newTrail(t), newDir(t)
	before := *tr
	before.newKey(t)
	for i, of := range []*trail{&before, tr} {
		s := of.open(t, of.recorder, time.Minute)
		record(t, s, fmt.Sprint(i))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := openLog(t, dir)
	for _, c := range []struct {
		signers               []note.Signer
		events, others, after int
	}{{[]note.Signer{tr.signer}, 3, 3, 3}, {[]note.Signer{before.signer, tr.signer}, 3, 0, 0}} {
		s, err := pglog.OpenSealer(t.Context(), parse(t, tr.sealer), l, pglog.SealOptions{Signers: c.signers})
		for ; errors.Is(err, pglog.ErrSealing); s, err = pglog.OpenSealer(t.Context(), parse(t, tr.sealer), l, pglog.SealOptions{Signers: c.signers}) {
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Round(t.Context())
		second, err2 := s.Round(t.Context())
		if err := errors.Join(err, err2, s.Close()); err != nil {
			t.Fatal(err)
		}
		if first.Events != c.events || first.Refused != 0 || second.OtherKeys != c.others || tr.count(t, "NOT refused") != c.after {
			t.Errorf("%+v, then %+v", first, second)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := audit.Verify(t.Context(), dir, nil); err != nil || report.Refusals != 0 || report.Missing != 0 || report.Streams != 2 {
		t.Errorf("%v\n%s", err, report)
	}
}
