package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far something has come, on standard error: a bar on a terminal, else a line now and then, and neither
// where somebody reads JSON there.
type progress struct {
	t     *tool
	what  string
	total int64 // below 0 where it is not known
	bar   *progressbar.ProgressBar
	last  time.Time
}

// progressEvery is the least time between two lines.
const progressEvery = 5 * time.Second

func (t *tool) progress(what string, total int64) *progress {
	p := &progress{t: t, what: what, total: total, last: time.Now()}
	if isTerminal(t.stderr.w) {
		p.bar = p.newBar()
	}
	return p
}

func (p *progress) newBar() *progressbar.ProgressBar {
	return progressbar.NewOptions64(p.total, progressbar.OptionSetWriter(p.t.stderr.w), progressbar.OptionSetWidth(40),
		progressbar.OptionSetDescription(safe(p.what)), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0)) // or where the total is not known a goroutine of the bar's races with its calls
}

// begin says that a part of it begins, of so many.
func (p *progress) begin(total int64) {
	if p.total = total; p.bar != nil {
		p.bar.Finish()
		p.bar = p.newBar()
	}
}

// at says that n are done, the last of which is at.
func (p *progress) at(n int64, at string) {
	switch {
	case p.bar != nil:
		p.bar.Set64(n)
	case p.t.json || time.Since(p.last) < progressEvery:
	case p.total >= 0:
		p.last = time.Now()
		fmt.Fprintf(p.t.stderr, "keyctl: %s: %d of %d, at %s\n", p.what, n, p.total, at)
	default:
		p.last = time.Now()
		fmt.Fprintf(p.t.stderr, "keyctl: %s: %d, at %s\n", p.what, n, at)
	}
}

// done takes the bar away.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.Finish()
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
