package load

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// worker is one client, of one clinic.
type worker struct {
	load          *Load
	clinic, other string
	known         []Entry // patients that were admitted, with what was stored
}

func (w *worker) run(ctx context.Context) error {
	for w.load.limit.Wait(ctx) == nil && !w.load.enough() {
		if err := w.step(context.WithoutCancel(ctx)); err != nil { // what was begun is ended, so that its answer is known
			return err
		}
	}
	return nil
}

// step sends one request, or two of an upload.
func (w *worker) step(ctx context.Context) error {
	token, err := w.load.token(ctx, w.clinic)
	if err != nil {
		return err
	}
	if len(w.known) == 0 {
		return w.admit(ctx, token)
	}
	patient := w.known[mathrand.IntN(len(w.known))]
	foreign, _ := w.load.strangers.Load(w.other)
	switch n := mathrand.IntN(20); {
	case n < 5:
		return w.admit(ctx, token)
	case n < 9:
		return w.visit(ctx, token, patient)
	case n < 12:
		return w.scan(ctx, token, patient)
	case n < 17 || foreign == nil:
		return w.read(ctx, token, patient)
	case n < 19:
		return w.attack(ctx, token, Foreign, "/api/patients/"+foreign.(string), foreign.(string), http.StatusNotFound)
	default:
		return w.attack(ctx, token, Named, "/api/clinics/"+w.other+"/patients/"+foreign.(string), foreign.(string), http.StatusForbidden)
	}
}

// done writes the entry, and counts it.
func (w *worker) done(e Entry, want int) error {
	if e.Status == want {
		w.load.counts.acknowledged.Add(1)
	} else {
		w.load.counts.failed.Add(1)
	}
	return w.load.journal.write(e)
}

func (w *worker) admit(ctx context.Context, token string) error {
	e := Entry{Request: uuid.NewString(), Clinic: w.clinic, Op: Admit, Patient: uuid.NewString(), ID: uuid.NewString(), Name: "Patient " + rand.Text()[:8], Text: "Finding " + rand.Text()}
	body := map[string]any{"name": e.Name, "born": "1980-05-17", "insurer": "Meridian", "notes": "Notes of " + e.Name,
		"visits": []any{map[string]any{"id": e.ID, "day": time.Now(), "ward": "cardiology", "finding": e.Text}}}
	e.Status, _ = w.load.send(ctx, e.Request, http.MethodPut, "/api/patients/"+e.Patient, token, "application/json", encode(body))
	if e.Status == http.StatusCreated {
		w.known = append(w.known, e)
		w.load.strangers.Store(w.clinic, e.Patient)
	}
	return w.done(e, http.StatusCreated)
}

func (w *worker) visit(ctx context.Context, token string, patient Entry) error {
	e := Entry{Request: uuid.NewString(), Clinic: w.clinic, Op: Visit, Patient: patient.Patient, ID: uuid.NewString(), Text: "Finding " + rand.Text()}
	body := map[string]any{"day": time.Now(), "ward": "surgery", "finding": e.Text}
	e.Status, _ = w.load.send(ctx, e.Request, http.MethodPut, "/api/patients/"+e.Patient+"/visits/"+e.ID, token, "application/json", encode(body))
	return w.done(e, http.StatusCreated)
}

func (w *worker) scan(ctx context.Context, token string, patient Entry) error {
	e := Entry{Request: uuid.NewString(), Clinic: w.clinic, Op: Scan, Patient: patient.Patient, ID: uuid.NewString(), Text: "Scan " + rand.Text()[:8]}
	body := map[string]any{"content_type": "image/png", "title": e.Text}
	status, answer := w.load.send(ctx, e.Request, http.MethodPut, "/api/patients/"+e.Patient+"/scans/"+e.ID, token, "application/json", encode(body))
	e.Status = status
	if err := w.done(e, http.StatusCreated); err != nil || status != http.StatusCreated {
		return err
	}
	var upload struct{ URL, Token string }
	if err := json.Unmarshal(answer, &upload); err != nil {
		return fmt.Errorf("load: the answer to a scan: %w", err)
	}
	content := make([]byte, 1+mathrand.IntN(200_000)) // several segments, or a part of one
	rand.Read(content)
	sum := sha256.Sum256(content)
	u := Entry{Request: e.Request, Clinic: w.clinic, Op: Upload, Patient: e.Patient, ID: e.ID, SHA256: hex.EncodeToString(sum[:]), Size: len(content)}
	u.Status, _ = w.load.send(ctx, uuid.NewString(), http.MethodPut, upload.URL, upload.Token, "image/png", content)
	return w.done(u, http.StatusCreated)
}

// read reads what was admitted, which has to be what was stored.
func (w *worker) read(ctx context.Context, token string, patient Entry) error {
	e := Entry{Request: uuid.NewString(), Clinic: w.clinic, Op: Read, Patient: patient.Patient}
	status, answer := w.load.send(ctx, e.Request, http.MethodGet, "/api/patients/"+e.Patient, token, "", nil)
	e.Status = status
	if err := w.done(e, http.StatusOK); err != nil || status != http.StatusOK {
		return err
	}
	var got struct {
		Name   string
		Visits []struct{ ID, Finding string }
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("load: the answer to a read: %w", err)
	}
	found := false
	for _, v := range got.Visits {
		found = found || v.ID == patient.ID && v.Finding == patient.Text
	}
	if got.Name != patient.Name || !found {
		return fmt.Errorf("load: request %s did not return what was acknowledged as stored by %s", e.Request, patient.Request)
	}
	return nil
}

// attack asks for what is another clinic's. Any answer with content ends the load.
func (w *worker) attack(ctx context.Context, token, op, path, patient string, want int) error {
	e := Entry{Request: uuid.NewString(), Clinic: w.clinic, Op: op, Patient: patient}
	e.Status, _ = w.load.send(ctx, e.Request, http.MethodGet, path, token, "", nil)
	if e.Status >= 200 && e.Status < 300 {
		return fmt.Errorf("load: request %s of %s was answered with a patient of %s", e.Request, w.clinic, w.other)
	}
	return w.done(e, want)
}
