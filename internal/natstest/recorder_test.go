package natstest

import (
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/audit/recordertest"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

// TestRecorder runs the conformance suite of recorders on a stream. That the log which a sealer
// makes of a stream passes it too is shown in package audit.
func TestRecorder(t *testing.T) {
	c := startCluster(t)
	recordertest.Run(t, func(t *testing.T) *recordertest.Target {
		tr := c.trail(t, nil)
		s := tr.open(t, tr.recorder(), time.Minute)
		return &recordertest.Target{
			Recorder: s, Close: s.Close, Lines: func(t *testing.T) [][]byte { return tr.lines(t) },
			Impatient: func(t *testing.T) *recordertest.Target {
				one, _, _ := strings.Cut(tr.recorder(), ",")
				r, through := testenv.NewRelay(t, one)
				s := tr.open(t, through, time.Second)
				return &recordertest.Target{
					Recorder: s, Close: s.Close, Lines: func(t *testing.T) [][]byte { return tr.lines(t) },
					Break: func() { r.Lose("replies") }, Mend: r.Cut,
				}
			},
		}
	})
}
