package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/demo"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

func TestMain(m *testing.M) {
	for _, v := range os.Environ() { // a test says itself what it wants
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "CLINIC_") {
			os.Unsetenv(name)
		}
	}
	testenv.Main(m)
}

// clinic is the service with telemetry, running in this process.
type clinic struct {
	t      *testing.T
	url    string
	end    func() // ends the service, which sends what it has not sent
	client *http.Client
	errs   *bytes.Buffer // what it wrote to standard error, once it has ended
}

func begin(t *testing.T, args ...string) *clinic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{t: t, client: &http.Client{Jar: jar}, errs: &bytes.Buffer{}}
	ended := make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		err := service.Run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w, c.errs, telemetry)
		w.CloseWithError(err)
		ended <- err
	}()
	c.end = func() {
		cancel()
		if err, ok := <-ended; ok && err != nil {
			t.Error(err)
		}
		close(ended)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("it does not serve: %v", err)
	}
	c.url = strings.TrimSpace(strings.TrimPrefix(line, "clinic: serving at "))
	return c
}

// Whatever somebody sends or stores ends in this word, and none of it may be exported.
const canary = "kanarienvogel"

// send sends a request with the canary wherever a client may put something, and returns the status and the body.
func (c *clinic) send(method, path, token, contentType string, body io.Reader) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", canary)
	r.Header.Set("X-Forwarded-For", canary)
	r.Header.Set("X-Request-Id", canary) // no UUID: it is not taken
	r.Header.Set("Baggage", "patient="+canary)
	r.Header.Set("Traceparent", "00-"+foreignTrace+"-00f067aa0ba902b7-01")
	answer, err := c.client.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

const foreignTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

// expect is send, with the status that the answer must have.
func (c *clinic) expect(status int, method, path, token, contentType string, body string) string {
	c.t.Helper()
	got, text := c.send(method, path, token, contentType, strings.NewReader(body))
	if got != status {
		c.t.Fatalf("%s %s: %d %s; want %d", method, path, got, text, status)
	}
	return text
}

// use does what the clinic's people do, and what others try. It returns the id of a patient.
func (c *clinic) use(issuer string) string {
	c.t.Helper()
	token := func(clinic, user string) string {
		answer, err := http.PostForm(issuer+"/token", url.Values{"clinic": {clinic}, "user": {user}})
		if err != nil {
			c.t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			c.t.Fatalf("the issuer: %d %v", answer.StatusCode, err)
		}
		return string(text)
	}
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	doctor, accounts, other := token("harbor", "dr.adams"), token("harbor", "m.bell"), token("hillside", "dr.adams")
	patient := uuid.NewString()
	file, err := json.Marshal(map[string]any{"name": "Ada " + canary, "born": "1980-05-17", "insurer": canary, "notes": "notes of " + canary,
		"visits": []any{map[string]any{"id": uuid.NewString(), "day": time.Now(), "ward": canary, "finding": "it's a '" + canary + "'"}}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.expect(http.StatusCreated, http.MethodPut, "/api/patients/"+patient, doctor, asJSON, string(file))
	if text := c.expect(http.StatusOK, http.MethodGet, "/api/patients?name="+url.QueryEscape("Ada "+canary), doctor, asJSON, ""); !strings.Contains(text, patient) {
		c.t.Errorf("the patient was not found by name: %s", text)
	}
	if text := c.expect(http.StatusOK, http.MethodGet, "/api/patients/"+patient, doctor, asJSON, ""); !strings.Contains(text, canary) {
		c.t.Errorf("the patient was not read: %s", text)
	}
	// What is refused: a repeated id, another clinic's patient, a link of another clinic's, notes for accounts, what is no request, a stranger.
	c.expect(http.StatusConflict, http.MethodPut, "/api/patients/"+patient, doctor, asJSON, string(file))
	c.expect(http.StatusNotFound, http.MethodGet, "/api/patients/"+patient, other, asJSON, "")
	c.expect(http.StatusForbidden, http.MethodGet, "/api/clinics/"+canary+"/patients/"+patient, doctor, asJSON, "")
	c.expect(http.StatusForbidden, http.MethodGet, "/api/patients/"+patient, accounts, asJSON, "")
	c.expect(http.StatusBadRequest, http.MethodPut, "/api/patients/"+canary, doctor, asJSON, `{"`+canary+`": 1`)
	c.expect(http.StatusUnauthorized, http.MethodGet, "/api/patients", canary, asJSON, "")
	c.expect(http.StatusNotFound, http.MethodGet, "/"+canary+"?"+canary, "", asJSON, "")
	if status, _ := c.send(strings.ToUpper(canary), "/api/patients", doctor, asJSON, nil); status < 400 {
		c.t.Errorf("an invented method was answered %d", status)
	}
	if status, _ := c.send(http.MethodGet, "/objects/"+canary+"?token="+canary, "", asJSON, nil); status < 400 {
		c.t.Errorf("an invented token was answered %d", status)
	}

	// A person, with a browser: a scan up, and down.
	c.expect(http.StatusOK, http.MethodPost, "/signin", "", asForm, "")
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	part, err := parts.CreateFormFile("scan", canary+".png")
	if err != nil {
		c.t.Fatal(err)
	}
	part.Write(demo.Picture(7))
	parts.Close()
	page := c.expect(http.StatusOK, http.MethodPost, "/at/harbor/patients/"+patient+"/scans", "", parts.FormDataContentType(), form.String())
	link := regexp.MustCompile(`/objects/[^"]+`).FindString(page)
	if link == "" {
		c.t.Fatalf("the page has no scan:\n%s", page)
	}
	if status, got := c.send(http.MethodGet, link, "", "", nil); status != http.StatusOK || got != string(demo.Picture(7)) {
		c.t.Errorf("the scan: %d, %d bytes", status, len(got))
	}
	return patient
}

// statementsOf are the texts of the SQL that the service has, as spans may show them.
func statementsOf(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	files, err := filepath.Glob("../internal/records/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(fmt.Errorf("%d files, %w", len(files), err))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
