package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/storagetest"
)

// TestRepeatedIDs: a request that is sent again, since its answer was lost, is told that what it stores is there, and changes nothing. At
// another clinic the ids are free.
func TestRepeatedIDs(t *testing.T) {
	e := storagetest.New(t, records.Schema, records.Tables(dialect.SQLite)...)
	secret, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := blobs.NewSigner(secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Records: records.Store{DB: e.DB}, Scans: e.Bucket, Signer: signer}
	patient, visit, scan := uuid.NewString(), uuid.NewString(), uuid.NewString()
	const file = `{"name": "NAME", "born": "1947-11-03", "visits": [{"id": "VISIT", "day": "2026-11-03T08:00:00Z", "ward": "cardiology"}]}`
	type handler func(http.ResponseWriter, *http.Request) (int, any, error)
	send := func(clinic string, h handler, body string, ids ...string) int {
		r := httptest.NewRequestWithContext(e.As(clinic), http.MethodPut, "/", strings.NewReader(body))
		for i, name := range []string{"id", "visit", "scan"}[:len(ids)] {
			r.SetPathValue(name, ids[i])
		}
		status, _, err := h(httptest.NewRecorder(), r)
		if err != nil {
			status = statusOf(err)
		}
		return status
	}
	admission := strings.NewReplacer("NAME", "Ada", "VISIT", uuid.NewString()).Replace(file)
	for _, step := range []struct {
		what string
		h    handler
		body string
		ids  []string
	}{
		{"a patient", s.putPatient, admission, []string{patient}},
		{"a visit", s.putVisit, `{"day": "2026-11-03T09:00:00Z", "ward": "surgery"}`, []string{patient, visit}},
		{"a scan", s.putScan, `{"content_type": "image/png", "title": "knee"}`, []string{patient, visit, scan}},
	} {
		for _, clinic := range []string{"harbor", "hillside"} {
			if got := send(clinic, step.h, step.body, step.ids...); got != http.StatusCreated {
				t.Fatalf("%s at %s: %d", step.what, clinic, got)
			}
			if got := send(clinic, step.h, step.body, step.ids...); got != http.StatusConflict {
				t.Errorf("%s at %s again: %d", step.what, clinic, got)
			}
		}
	}
	// A new patient whose visit is there already is not admitted.
	other := uuid.NewString()
	if got := send("harbor", s.putPatient, strings.NewReplacer("NAME", "Bea", "VISIT", visit).Replace(file), other); got != http.StatusConflict {
		t.Errorf("a visit of another patient's: %d", got)
	}
	if _, err := s.Records.Patient(e.As("harbor"), other); statusOf(err) != http.StatusNotFound {
		t.Errorf("a patient without a visit: %v", err)
	}
	if p, err := s.Records.Patient(e.As("harbor"), patient); err != nil || p.Name != "Ada" {
		t.Errorf("%+v, %v", p, err)
	}
}
