package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
)

// card is what one request left in the trail.
type card struct {
	Clinic, Purpose, Actor, Request string
	Time                            time.Time
	Lines                           []line
	Worst                           string // "denied", "failed" or ""
}

// line is one access: its intent and its outcome.
type line struct {
	Code, What, Result, Reason, Statement string
	Sealed                                []string
	correlation                           string
}

// maxCards is how many requests the page shows.
const maxCards = 60

// trail shows what the clinics' requests left in the trail to a reviewer, who has no clinic and sees no records.
func (s *Server) trail(mux *http.ServeMux) {
	reviewer := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			id, err := s.Sessions.Verify(r.Context(), session.FromCookie(r))
			if err != nil || id.Role != "reviewer" || s.Trail == nil {
				s.signedOut(w, r, cmp.Or(err, fmt.Errorf("web: the session is no reviewer's, or no trail is read here")))
				return
			}
			next(w, r)
		}
	}
	mux.HandleFunc("GET /trail", reviewer(func(w http.ResponseWriter, r *http.Request) {
		entries, seen := s.Trail.Newest()
		s.show(w, r, http.StatusOK, "trail.html", page{Title: "Audit trail", Data: map[string]any{"Cards": cards(entries), "Seen": seen}})
	}))
	// The page's script waits here until there is more to show.
	mux.HandleFunc("GET /trail/after/{seen}", reviewer(func(w http.ResponseWriter, r *http.Request) {
		seen, err := strconv.Atoi(r.PathValue("seen"))
		if err != nil {
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
		defer cancel()
		s.Trail.Wait(ctx, seen)
		_, now := s.Trail.Newest()
		fmt.Fprintln(w, now)
	}))
}

// cards puts events together by request, the newest request first. A request's id is what its client says: one that says another's is not
// shown as the other's doing.
func cards(entries []audit.Entry) []*card {
	type whose struct{ request, clinic, actor, purpose string }
	var all []*card
	byRequest := map[whose]*card{}
	for i := range entries {
		e := &entries[i]
		if e.Code == audit.CodeLogHead { // the tree's, nobody's access
			continue
		}
		// What a token for a scan was used for belongs to the page that it was issued for.
		request := e.Request[strings.LastIndexByte(e.Request, ' ')+1:]
		key := whose{cmp.Or(request, e.UID), e.Tenant, e.Actor, e.Purpose}
		c := byRequest[key]
		if c == nil {
			c = &card{Clinic: cmp.Or(e.Tenant, "the log"), Purpose: e.Purpose, Actor: e.Actor, Request: request, Time: e.Time}
			byRequest[key] = c
			all = append(all, c)
		}
		c.take(e)
	}
	slices.Reverse(all)
	return all[:min(len(all), maxCards)]
}

func (c *card) take(e *audit.Entry) {
	i := slices.IndexFunc(c.Lines, func(l line) bool { return l.correlation == e.Correlation && e.Correlation != "" })
	if i < 0 {
		i = len(c.Lines)
		c.Lines = append(c.Lines, line{Code: string(e.Code), What: strings.Join(e.Tables, ", "), Statement: e.Statement, Sealed: e.SealedColumns, correlation: e.Correlation})
		if e.Store == "blob" {
			c.Lines[i].What = e.Name
		}
	}
	l := &c.Lines[i]
	switch {
	case e.Phase == audit.Intent:
		l.Result = cmp.Or(l.Result, "…")
		return
	case e.Status == audit.Denied:
		l.Result, c.Worst = "denied", "denied"
	case e.Status != audit.Success:
		l.Result, c.Worst = string(e.Status), cmp.Or(c.Worst, "failed")
	case e.Store == "blob" && e.Bytes >= 0:
		l.Result = fmt.Sprintf("%d bytes", e.Bytes)
	case e.Rows >= 0 && e.Code != audit.CodeCommit:
		l.Result = plural(e.Rows, "row")
	default:
		l.Result = "done"
	}
	l.Reason = e.Reason
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
