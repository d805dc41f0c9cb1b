package service

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

// asProgram has the test binary be the program itself, so that a test can kill it.
const asProgram = "CLINIC_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(nil))
	}
	testenv.Main(m)
}

// process is the program, running.
type process struct {
	*exec.Cmd
	url string
	log *bytes.Buffer
}

// start starts the program and waits until it serves.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), log: &bytes.Buffer{}}
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stderr = p.log
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	_, p.url, _ = strings.Cut(strings.TrimSpace(line), " at ")
	if err != nil || p.url == "" {
		p.Wait()
		t.Fatalf("%q, %v\n%s", line, err, p.log)
	}
	return p
}

// get returns the status and the body of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// begin runs the service in this process, with everything in dir, and returns its address and what ends it.
func begin(t *testing.T, dir string) (url string, end context.CancelFunc, ended chan error) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	ended = make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		err := Run(ctx, []string{"-listen", "127.0.0.1:0", "-dir", dir, "-grace", "2m"}, w, io.Discard, nil)
		w.CloseWithError(err)
		ended <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), "clinic: serving at "), end, ended
}

// TestEndsGracefully: a request that has begun is answered, no other is let in, and the trail is closed behind it. The same
// directory serves a second time.
func TestEndsGracefully(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 {
		at, end, ended := begin(t, dir)
		if status, body := get(t, at+"/readyz"); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		answer, err := http.PostForm(at+"/issuer/token", url.Values{"clinic": {"harbor"}, "user": {"dr.adams"}})
		if err != nil {
			t.Fatal(err)
		}
		token, _ := io.ReadAll(answer.Body)
		answer.Body.Close()

		r, w := io.Pipe()
		request, err := http.NewRequest(http.MethodPut, at+"/api/patients/"+uuid.NewString(), r)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+string(token))
		request.Header.Set("Expect", "100-continue") // which is answered when a handler begins to read
		begun := make(chan struct{})
		request = request.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }}))
		answers := make(chan *http.Response, 1)
		go func() {
			answer, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}).Do(request)
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		}()
		<-begun
		end()
		eventually(t, "the end of new connections", func() bool {
			c, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		if _, err := io.WriteString(w, `{"name": "Ada Byrne", "born": "1947-11-03", "visits": [{"id": "`+uuid.NewString()+`", "ward": "cardiology", "day": "2026-01-02T03:04:05Z"}]}`); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if answer := <-answers; answer == nil || answer.StatusCode != http.StatusCreated {
			t.Errorf("the request that had begun was answered %v", answer)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if report, err := audit.Verify(t.Context(), filepath.Join(dir, "audit"), nil); err != nil || !report.Closed || report.Uncovered != 0 {
			t.Errorf("the trail: %+v, %v", report, err)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-setup", "-issue"}, {"serve"}, {"-url", "clinic.example.com"}, {"-load", "http://192.0.2.1:80", "-issuer", "http://127.0.0.1:1", "-journal", filepath.Join(t.TempDir(), "j")},
		{"-issuer", "http://login.example.com", "-listen", "127.0.0.1:0"}} {
		if err := Run(t.Context(), args, io.Discard, io.Discard, nil); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
