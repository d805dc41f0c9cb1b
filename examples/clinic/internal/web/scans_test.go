package web

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/storagetest"
)

// TestScansThatBreakOff: who sends too much, or half, is told so, whenever that turns out, and nothing of it is kept.
func TestScansThatBreakOff(t *testing.T) {
	e := storagetest.New(t, records.Schema, records.Tables(dialect.SQLite)...)
	s, ctx := &Server{Records: records.Store{DB: e.DB}, Scans: e.Bucket}, e.As("harbor")
	now := time.UnixMilli(1_700_000_000_000)
	if err := s.Records.Admit(ctx, records.Patient{ID: "p1", Name: "Ada", Born: "1947-11-03", Admitted: now}, records.Visit{ID: "v1", Day: now}); err != nil {
		t.Fatal(err)
	}
	send := func(size int, cut bool) error {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("scan", "knee.png")
		if err != nil {
			t.Fatal(err)
		}
		part.Write(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, size)...))
		if !cut {
			w.Close()
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", &form)
		r.SetPathValue("id", "p1")
		r.Header.Set("Content-Type", w.FormDataContentType())
		return s.receive(httptest.NewRecorder(), r)
	}
	for name, err := range map[string]error{
		"too much": send(MaxScan, false), "half": send(1<<20, true), "half of little": send(100, true),
	} {
		if status := statusOf(err); err == nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d, %v", name, status, err)
		}
	}
	objects, _, err := e.Bucket.ListPage(ctx, blob.FirstPageToken, 10, nil)
	if err != nil || len(objects) != 0 {
		t.Errorf("%d objects are there, %v", len(objects), err)
	}
	if err := send(1<<20, false); err != nil {
		t.Error(err)
	}
}
