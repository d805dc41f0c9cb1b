package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestReadiness: what is away is told at once, and takes the service out of service once its grace is over.
func TestReadiness(t *testing.T) {
	var vault, database error
	asked := 0
	h := NewHealth(
		Check{Name: "vault", Grace: time.Minute, Ask: func(context.Context) error { return vault }},
		Check{Name: "database", Ask: func(context.Context) error { asked++; return database }},
	)
	now := time.Unix(1_800_000_000, 0)
	h.now = func() time.Time { return now }
	probe := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code, w.Body.String()
	}
	away := errors.New("postgres://clinic_app:secret@db refused")
	for i, step := range []struct {
		after           time.Duration
		vault, database error
		status          int
		body            string
	}{
		{0, away, nil, 503, `{"checks":{"database":"ok","vault":"away for 0s"},"ready":false}`}, // it has never answered
		{time.Second, nil, nil, 200, `{"checks":{"database":"ok","vault":"ok"},"ready":true}`},
		{10 * time.Second, away, nil, 200, `{"checks":{"database":"ok","vault":"away for 0s"},"ready":true}`},
		{59 * time.Second, away, nil, 200, `{"checks":{"database":"ok","vault":"away for 59s"},"ready":true}`},
		{time.Second, away, nil, 503, `{"checks":{"database":"ok","vault":"away for 1m0s"},"ready":false}`},
		{time.Second, nil, nil, 200, `{"checks":{"database":"ok","vault":"ok"},"ready":true}`},
		{time.Second, nil, away, 503, `{"checks":{"database":"away for 0s","vault":"ok"},"ready":false}`},
		{time.Second / 2, nil, nil, 503, `{"checks":{"database":"away for 1s","vault":"ok"},"ready":false}`}, // the last answer
		{time.Second, nil, nil, 200, `{"checks":{"database":"ok","vault":"ok"},"ready":true}`},
	} {
		now, vault, database = now.Add(step.after), step.vault, step.database
		if status, body := probe(); status != step.status || body != step.body+"\n" {
			t.Errorf("step %d: %d %s", i, status, body)
		}
	}
	if asked != 8 {
		t.Errorf("the database was asked %d times by 9 probes, one of which came too soon", asked)
	}
}
