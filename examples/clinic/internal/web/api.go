package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/tenant"
)

// MaxScan is how long an uploaded scan may be.
const MaxScan = 16 << 20

// api is for programs: JSON, and a token in the header Authorization. Clients choose the ids (UUIDs), so that a request whose
// answer was lost can be sent again: what is there already is 409.
func (s *Server) api(mux *http.ServeMux) {
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request) (int, any, error)) {
		access := tenant.Middleware(s.Sessions.Resolver(session.FromHeader), &tenant.MiddlewareOptions{OnError: s.unresolved})
		mux.Handle(pattern, access(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
			status, answer, err := h(w, r)
			if err != nil {
				status = s.failed(r, err)
				answer = map[string]string{"error": http.StatusText(status)}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(answer)
		})))
	}
	handle("GET /api/patients", s.listPatients)
	handle("GET /api/patients/{id}", s.getPatient)
	handle("PUT /api/patients/{id}", s.putPatient)
	handle("PUT /api/patients/{id}/visits/{visit}", s.putVisit)
	handle("PUT /api/patients/{id}/scans/{scan}", s.putScan)
	handle("GET /api/clinics/{named}/patients/{id}", s.getPatient)
}

// unresolved answers who has no session.
func (s *Server) unresolved(w http.ResponseWriter, r *http.Request, err error) {
	status := s.failed(r, err)
	if status != http.StatusForbidden {
		status = http.StatusUnauthorized
	}
	http.Error(w, http.StatusText(status), status)
}

func (s *Server) listPatients(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	all, err := s.find(r.Context(), r.URL.Query().Get("name"))
	return http.StatusOK, all, err
}

func (s *Server) find(ctx context.Context, name string) ([]records.Patient, error) {
	if name == "" {
		return s.Records.Recent(ctx)
	}
	return s.Records.Named(ctx, name)
}

// File is a patient with all that belongs to them.
type File struct {
	records.Patient
	Visits []records.Visit `json:"visits"`
	Scans  []records.Scan  `json:"scans"`
}

func (s *Server) file(r *http.Request) (f File, err error) {
	ctx, id := r.Context(), r.PathValue("id")
	if named := r.PathValue("named"); named != "" {
		ctx = session.Naming(ctx, named)
	}
	if f.Patient, err = s.Records.Patient(ctx, id); err != nil {
		return f, err
	}
	if f.Visits, err = s.Records.Visits(ctx, id); err != nil {
		return f, err
	}
	f.Scans, err = s.Records.Scans(ctx, id)
	return f, err
}

func (s *Server) getPatient(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	f, err := s.file(r)
	return http.StatusOK, f, err
}

// putPatient admits a patient: the body is a [File] with one visit.
func (s *Server) putPatient(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	var f File
	if err := s.body(r, &f); err != nil {
		return 0, nil, err
	}
	if len(f.Visits) != 1 || !isUUID(f.Visits[0].ID) {
		return 0, nil, &records.InvalidError{Field: "visits", Hint: "give one, with a UUID: the reason for the admission"}
	}
	f.ID, f.Admitted = r.PathValue("id"), time.Now()
	if err := s.Records.Admit(r.Context(), f.Patient, f.Visits[0]); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, map[string]string{"id": f.ID}, nil
}

func (s *Server) putVisit(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	var v records.Visit
	if err := s.body(r, &v, "visit"); err != nil {
		return 0, nil, err
	}
	v.ID = r.PathValue("visit")
	if err := s.Records.AddVisit(r.Context(), r.PathValue("id"), v); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, map[string]string{"id": v.ID}, nil
}

// Upload is where a scan is to be sent, and the token that allows it, for the header Authorization.
type Upload struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// putScan notes a scan and lets its content be uploaded, once, as the picture that it is said to be.
func (s *Server) putScan(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	var c records.Scan
	if err := s.body(r, &c, "scan"); err != nil {
		return 0, nil, err
	}
	if !pictures[c.ContentType] {
		return 0, nil, &records.InvalidError{Field: "content_type", Hint: "use image/png or image/jpeg"}
	}
	c.ID, c.Patient, c.Taken = r.PathValue("scan"), r.PathValue("id"), time.Now()
	token, err := s.Signer.Sign(r.Context(), s.Scans, blobs.Grant{Method: http.MethodPut, Key: c.Key(), MaxBytes: MaxScan, ContentType: c.ContentType, CreateOnly: true})
	if err != nil {
		return 0, nil, err
	}
	if err := s.Records.AddScan(r.Context(), c); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, Upload{"/objects/" + c.ID, token}, nil
}

// body reads what a client sent, and checks the ids in the path.
func (s *Server) body(r *http.Request, into any, ids ...string) error {
	for _, name := range append(ids, "id") {
		if !isUUID(r.PathValue(name)) {
			return &records.InvalidError{Field: name, Hint: "use a UUID in its canonical form"}
		}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil { // which may repeat what was sent
		return &records.InvalidError{Field: "body", Hint: "it is not the JSON that this takes, or over 64 KiB"}
	}
	return nil
}

func isUUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

var pictures = map[string]bool{"image/png": true, "image/jpeg": true}
