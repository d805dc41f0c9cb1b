package web

import (
	"net/http"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/demo"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
)

// signIn signs a browser in at both clinics, and as a reviewer of the trail, which nobody can be at once but in a
// demonstration. Where an identity provider is, its redirects are here.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	for _, c := range demo.Clinics {
		token, err := s.SignIn.Issue(r.Context(), c.ID.String(), demo.People[0].User)
		if err != nil {
			s.refusal(w, r, err)
			return
		}
		session.SetCookie(w, "/at/"+c.ID.String()+"/", token, s.Secure)
	}
	token, err := s.SignIn.IssueReviewer(r.Context())
	if err != nil {
		s.refusal(w, r, err)
		return
	}
	session.SetCookie(w, "/trail", token, s.Secure)
	http.Redirect(w, r, "/desk", http.StatusSeeOther)
}

// signInAs goes on as somebody else at one of the clinics.
func (s *Server) signInAs(w http.ResponseWriter, r *http.Request) {
	for _, c := range demo.Clinics {
		if c.ID.String() != r.PathValue("clinic") {
			continue
		}
		token, err := s.SignIn.Issue(r.Context(), c.ID.String(), r.PostFormValue("user"))
		if err != nil {
			break
		}
		session.SetCookie(w, "/at/"+c.ID.String()+"/", token, s.Secure)
		http.Redirect(w, r, "/at/"+c.ID.String()+"/", http.StatusSeeOther)
		return
	}
	http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
}
