package web

import (
	"bufio"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/google/uuid"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/storage/blobs"
)

// receive takes a scan from a page's form. It is sealed as it comes in: neither memory nor disk holds it as a whole.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, MaxScan)
	parts, err := r.MultipartReader()
	if err != nil {
		return &records.InvalidError{Field: "scan", Hint: "send the form as multipart/form-data"}
	}
	part, err := parts.NextPart()
	if err != nil || part.FormName() != "scan" {
		return &records.InvalidError{Field: "scan", Hint: "choose a picture"}
	}
	// What a picture is its bytes say, and not its name or the browser.
	content := bufio.NewReaderSize(part, 512)
	head, err := content.Peek(512)
	if err != nil && err != io.EOF {
		return errBrokeOff
	}
	contentType, _, _ := mime.ParseMediaType(http.DetectContentType(head))
	if !pictures[contentType] {
		return &records.InvalidError{Field: "scan", Hint: "use a PNG or JPEG picture"}
	}
	scan := records.Scan{ID: uuid.NewString(), Patient: r.PathValue("id"), ContentType: contentType, Title: part.FileName(), Taken: time.Now()}
	// The patient first: the object of nobody's patient would be in nobody's way, and found by nobody.
	if _, err := s.Records.Patient(r.Context(), scan.Patient); err != nil {
		return err
	}
	// Upload leaves no object if its source fails. The row comes last: what is listed is there.
	source := &sourceReader{r: content}
	err = s.Scans.Upload(r.Context(), scan.Key(), source, &blob.WriterOptions{ContentType: contentType})
	switch {
	case err != nil && source.failed: // which is nobody's here to mend
		return errBrokeOff
	case err != nil:
		return err
	}
	return s.Records.AddScan(r.Context(), scan)
}

var errBrokeOff = &records.InvalidError{Field: "scan", Hint: "the upload broke off, or is over 16 MiB"}

// sourceReader remembers that it was the source which failed.
type sourceReader struct {
	r      io.Reader
	failed bool
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.failed = s.failed || err != nil && err != io.EOF
	return n, err
}

// picture returns the URL of a scan for a page of this moment: it is good for five minutes, for this one object, in the name
// of who looks at the page.
func (s *Server) picture(r *http.Request, c records.Scan) (string, error) {
	token, err := s.Signer.Sign(r.Context(), s.Scans, blobs.Grant{Method: http.MethodGet, Key: c.Key(), Lifetime: 5 * time.Minute})
	return "/objects/" + c.ID + "?token=" + token, err
}
