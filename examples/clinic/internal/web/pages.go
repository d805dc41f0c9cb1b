package web

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/demo"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/tenant"
)

//go:embed pages
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"day":   func(t time.Time) string { return t.Format("2 Jan 2006") },
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"short": func(s string) string { return s[:min(len(s), 8)] },
}).ParseFS(files, "pages/*.html"))

// page is what every template gets.
type page struct {
	Title   string
	Clinic  demo.Clinic // of the session
	Other   demo.Clinic
	Person  session.Person
	People  []session.Person
	Request string
	Data    any
}

// pages are for people: HTML, and a session cookie for each clinic.
func (s *Server) pages(mux *http.ServeMux) {
	for _, name := range []string{"style.css", "trail.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/"+name) })
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s.show(w, r, http.StatusOK, "front.html", page{Title: "Two clinics, one database"})
	})
	mux.HandleFunc("GET /desk", func(w http.ResponseWriter, r *http.Request) {
		s.show(w, r, http.StatusOK, "desk.html", page{Title: "Two clinics, one database", Data: demo.Clinics})
	})
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /at/{clinic}/who", s.signInAs)

	access := tenant.Middleware(s.Sessions.Resolver(session.FromCookie), &tenant.MiddlewareOptions{OnError: s.signedOut})
	handle := func(pattern string, h func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, access(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.refusal(w, r, err)
			}
		})))
	}
	handle("GET /at/{clinic}/{$}", s.patientsPage)
	handle("GET /at/{clinic}/patients/{id}", s.patientPage)
	handle("GET /at/{clinic}/clinics/{named}/patients/{id}", s.patientPage)
	handle("POST /at/{clinic}/patients", s.admit)
	handle("POST /at/{clinic}/patients/{id}/visits", s.addVisit)
	handle("POST /at/{clinic}/patients/{id}/scans", func(w http.ResponseWriter, r *http.Request) error {
		err := s.receive(w, r)
		if err == nil {
			s.back(w, r)
		}
		return err
	})
	s.trail(mux)
}

func (s *Server) patientsPage(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("name")
	all, err := s.find(r.Context(), name)
	if err != nil {
		return err
	}
	wards, err := s.Records.Wards(r.Context())
	if err != nil {
		return err
	}
	p := s.pageOf(r, "Patients")
	p.Data = map[string]any{"Patients": all, "Wards": wards, "Name": name, "Referred": demo.Referred(p.Other.ID.String())}
	s.show(w, r, http.StatusOK, "patients.html", p)
	return nil
}

func (s *Server) patientPage(w http.ResponseWriter, r *http.Request) error {
	f, err := s.file(r)
	if err != nil {
		return err
	}
	type shown struct {
		records.Scan
		URL string
	}
	var scans []shown
	for _, c := range f.Scans {
		url, err := s.picture(r, c)
		if err != nil {
			return err
		}
		scans = append(scans, shown{c, url})
	}
	p := s.pageOf(r, f.Name)
	p.Data = map[string]any{"File": f, "Scans": scans}
	s.show(w, r, http.StatusOK, "patient.html", p)
	return nil
}

func (s *Server) admit(w http.ResponseWriter, r *http.Request) error {
	now := time.Now()
	p := records.Patient{ID: uuid.NewString(), Name: r.PostFormValue("name"), Born: r.PostFormValue("born"), Insurer: r.PostFormValue("insurer"), Notes: r.PostFormValue("notes"), Admitted: now}
	if p.Name == "" {
		return &records.InvalidError{Field: "name", Hint: "it is empty"}
	}
	v := records.Visit{ID: uuid.NewString(), Day: now, Ward: r.PostFormValue("ward"), Finding: r.PostFormValue("finding")}
	if err := s.Records.Admit(r.Context(), p, v); err != nil {
		return err
	}
	http.Redirect(w, r, "/at/"+r.PathValue("clinic")+"/patients/"+p.ID, http.StatusSeeOther)
	return nil
}

func (s *Server) addVisit(w http.ResponseWriter, r *http.Request) error {
	v := records.Visit{ID: uuid.NewString(), Day: time.Now(), Ward: r.PostFormValue("ward"), Finding: r.PostFormValue("finding")}
	if err := s.Records.AddVisit(r.Context(), r.PathValue("id"), v); err != nil {
		return err
	}
	s.back(w, r)
	return nil
}

// back shows the patient's page again, by a request of its own, so that a reload sends no form twice.
func (s *Server) back(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/at/"+r.PathValue("clinic")+"/patients/"+r.PathValue("id"), http.StatusSeeOther)
}

// pageOf is a page of somebody's who is signed in.
func (s *Server) pageOf(r *http.Request, title string) page {
	p := page{Title: title, People: demo.People, Request: session.RequestID(r.Context())}
	access, err := tenant.FromContext(r.Context())
	if err != nil {
		return p
	}
	for _, c := range demo.Clinics {
		if c.ID == access.Tenant {
			p.Clinic = c
		} else {
			p.Other = c
		}
	}
	for _, who := range demo.People {
		if who.User == access.Actor {
			p.Person = who
		}
	}
	return p
}

// refusal tells a person that something was refused, or is away, and nothing of why that the other clinic could learn from.
func (s *Server) refusal(w http.ResponseWriter, r *http.Request, err error) {
	status := s.failed(r, err)
	p := s.pageOf(r, http.StatusText(status))
	said := map[int]string{
		http.StatusNotFound:           "There is no such patient at this clinic. The question is in the trail, with no rows for an answer.",
		http.StatusForbidden:          "This is not for you to see, and was refused before a statement was sent. The attempt is in the trail, as denied.",
		http.StatusBadRequest:         err.Error(), // an InvalidError, which names the field
		http.StatusServiceUnavailable: "The keys or the audit trail are away. Nothing is read and nothing is written until they are back.",
	}
	p.Data = map[string]any{"Status": status, "Said": said[status]}
	s.show(w, r, status, "refused.html", p)
}

// signedOut shows a page with the way back in.
func (s *Server) signedOut(w http.ResponseWriter, r *http.Request, err error) {
	s.failed(r, err)
	s.show(w, r, http.StatusUnauthorized, "signedout.html", page{Title: "Signed out"})
}

func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := templates.ExecuteTemplate(w, name, p); err != nil {
		s.Log.LogAttrs(r.Context(), slog.LevelError, "page", slog.String("page", name), slog.Any("error", err))
	}
}
