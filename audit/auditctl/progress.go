package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	out  io.Writer
	what string
	bar  *progressbar.ProgressBar
}

// newProgress returns the progress of something that reads bytes.
func newProgress(out io.Writer, what string) *progress { return &progress{out: out, what: what} }

// listingProgress is for what prints as it reads: it shows nothing where both go to the terminal.
func listingProgress(out, errs io.Writer) *progress {
	if isTerminal(out) {
		errs = io.Discard
	}
	return newProgress(errs, "reading")
}

// at says how much is read of how much there is.
func (p *progress) at(done, total int64) {
	if p.bar == nil {
		if !isTerminal(p.out) {
			return
		}
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.out), progressbar.OptionSetWidth(40), progressbar.OptionShowBytes(true),
			progressbar.OptionSetSpinnerChangeInterval(0), // or where the total is not known a goroutine of the bar's races with its calls
			progressbar.OptionSetDescription(p.what), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	}
	p.bar.Set64(min(done, total)) // a log that is written grows meanwhile
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
