package composetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// started is the composition, running.
type started struct {
	t       *testing.T
	compose []string // the command, and which project
	env     []string
	urls    map[string]string // by service, until one starts anew, with another port
}

// start starts everything, with an image of the programs that were built here, without a registry, and ports that are free. It skips
// the test where Docker Compose is not there.
func start(t *testing.T) *started {
	t.Helper()
	s := &started{t: t, env: os.Environ()}
	if testing.Short() {
		t.Skip("nine containers")
	}
	for _, try := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(t.Context(), try[0], append(try[1:], "version")...).Run() == nil {
			s.compose = try
			break
		}
	}
	if s.compose == nil || exec.CommandContext(t.Context(), "docker", "info").Run() != nil {
		if testenv.Required() {
			t.Fatal("Docker Compose or its engine is not there (Debian: docker-compose), and STRONGROOM_CONTAINERS=required")
		}
		t.Skip("Docker Compose or its engine is not there (Debian: docker-compose)")
	}
	project := "strongroom-clinic-" + strings.ToLower(rand.Text()[:8])
	labels := filepath.Join(t.TempDir(), "labels.yaml")
	s.compose = append(s.compose, "-p", project, "-f", file, "-f", labels)
	image := s.image(project)
	for variable, value := range map[string]string{
		"CLINIC_IMAGE": image, "CLINIC_PORT1": "0", "CLINIC_PORT2": "0", "CLINIC_PORT3": "0",
		"CLINIC_POSTGRES_IMAGE": os.Getenv("STRONGROOM_POSTGRES_IMAGE"),
		"CLINIC_VAULT_IMAGE":    os.Getenv("STRONGROOM_VAULT_IMAGE"),
		"CLINIC_S3_IMAGE":       os.Getenv("STRONGROOM_S3_IMAGE"),
	} {
		s.env = append(s.env, variable+"="+value) // of two the last counts; the empty one is the file's default
	}
	// By the label whoever started the tests finds what was left behind.
	services := map[string]any{}
	for name := range read(t).Services {
		services[name] = map[string]any{"labels": map[string]string{"strongroom.testenv": os.Getenv("STRONGROOM_CONTAINERS_RUN")}}
	}
	text, err := json.Marshal(map[string]any{"services": services}) // which is YAML
	if err == nil {
		err = os.WriteFile(labels, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", s.try("logs", "--tail", "30"))
		}
		began := time.Now()
		out := s.try("down", "--volumes", "--timeout", "10")
		if t.Logf("down took %v", time.Since(began).Round(time.Millisecond)); t.Failed() {
			t.Logf("%s", out)
		}
		for _, kind := range []string{"container", "volume", "network"} {
			if left := s.docker(kind, "ls", "-q", "--filter", "label=com.docker.compose.project="+project); left != "" {
				t.Errorf("%ss are left behind: %s", kind, left)
			}
		}
	})
	s.up()
	return s
}

// image makes an image as the Dockerfile does, of programs that are built here: with no registry there is nothing to build them in.
func (s *started) image(project string) string {
	s.t.Helper()
	at := filepath.Join(s.t.TempDir(), "root")
	// Linked with C, as the other tests' programs, because what those were made of is in the build cache.
	build := exec.CommandContext(s.t.Context(), "go", "build", "-ldflags", "-linkmode external -extldflags -static", "-o", at+"/", "./examples/clinic", "./audit/auditctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(at, "tmp"), 0o777); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(at, "tmp"), 0o777|os.ModeSticky); err != nil {
		s.t.Fatal(err)
	}
	image := project + ":test"
	layer := exec.CommandContext(s.t.Context(), "tar", "-C", at, "--numeric-owner", "--owner=0", "--group=0", "-c", ".")
	out, err := layer.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := layer.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.docker("image", "rm", image) })
	load := exec.CommandContext(s.t.Context(), "docker", "import", "--change", `ENTRYPOINT ["/clinic"]`, "--change", "USER 65532:65532", "--change", "ENV GODEBUG=netdns=go", "-", image)
	load.Stdin = out
	if text, err := load.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, text)
	}
	if err := layer.Wait(); err != nil {
		s.t.Fatal(err)
	}
	return image
}

// try runs a command of Compose's, also when the test has ended, and returns what it says, with its error.
func (s *started) try(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.compose[0], append(slices.Clone(s.compose[1:]), args...)...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + "\n" + err.Error()
	}
	return string(out)
}

// do runs a command of Compose's that must succeed, and returns its output.
func (s *started) do(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.compose[0], append(slices.Clone(s.compose[1:]), args...)...)
	cmd.Env = s.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	s.t.Logf("%s took %v", args[0], time.Since(began).Round(time.Millisecond))
	if err != nil {
		s.t.Fatalf("%q: %v\n%s%s", args, err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

func (s *started) up() {
	s.t.Helper()
	s.do("up", "-d", "--no-build")
	s.urls = map[string]string{}
}

func (s *started) docker(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		s.t.Errorf("docker %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// at is a service's address.
func (s *started) at(service string) string {
	s.t.Helper()
	if s.urls[service] == "" {
		s.urls[service] = "http://" + s.do("port", service, "8080")
	}
	return s.urls[service]
}

// ready waits until an instance says that it is.
func (s *started) ready(service string) {
	s.t.Helper()
	s.eventually(service+" being ready", func() bool {
		answer, err := http.Get(s.at(service) + "/readyz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode == http.StatusOK && strings.Count(string(body), `"ok"`) == 3
	})
}

func (s *started) eventually(what string, f func() bool) {
	s.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); !f(); <-tick.C {
		if time.Now().After(end) {
			s.t.Fatalf("%s did not come about", what)
		}
	}
}

// browser is somebody's, signed in at one of the instances.
type browser struct {
	*http.Client
	*started
}

func (s *started) signIn(at string) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	b := &browser{&http.Client{Jar: jar}, s}
	answer, err := b.PostForm(at+"/signin", url.Values{})
	if err != nil {
		s.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("signing in: %d", answer.StatusCode)
	}
	return b
}

// page returns a page, and the id of the request, or fails.
func (b *browser) page(address string) (text, request string) {
	b.t.Helper()
	answer, err := b.Get(address)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %d, %v", address, answer.StatusCode, err)
	}
	return string(body), answer.Header.Get("X-Request-Id")
}

// TestCompose does what the README has somebody do: all is started, and clicked through; an instance ends and comes back; `up` is said
// again; and all is taken down, with nothing left behind.
func TestCompose(t *testing.T) {
	s := start(t)
	for _, name := range []string{"instance1", "instance2", "instance3"} {
		s.ready(name)
	}
	b := s.signIn(s.at("instance1"))
	list, _ := b.page(s.at("instance1") + "/at/harbor/")
	link := regexp.MustCompile(`/at/harbor/patients/[0-9a-f-]+`).FindString(list)
	if link == "" || !strings.Contains(list, "Ada Byrne") {
		t.Fatalf("there are no patients:\n%s", list)
	}
	patient, request := b.page(s.at("instance1") + link)
	if !strings.Contains(patient, "Allergic to penicillin.") {
		t.Errorf("the patient's page is\n%s", patient)
	}
	if scan := regexp.MustCompile(`/objects/[^"]+`).FindString(patient); scan == "" {
		t.Error("the patient has no scan")
	} else if picture, _ := b.page(s.at("instance1") + scan); !strings.HasPrefix(picture, "\x89PNG") {
		t.Error("the scan is no picture")
	}
	// The sealer takes the events out of the database, and each instance shows the log that it writes.
	for _, name := range []string{"instance1", "instance3"} {
		s.eventually("the request in the trail that "+name+" shows", func() bool {
			trail, _ := b.page(s.at(name) + "/trail")
			return strings.Contains(trail, request[:8])
		})
	}

	s.do("stop", "instance2")
	id := s.do("ps", "-q", "instance2")
	if id == "" {
		id = s.do("ps", "-a", "-q", "instance2") // Compose 2 shows those that run
	}
	if code := s.docker("inspect", "-f", "{{.State.ExitCode}}", id); code != "0" {
		t.Errorf("an instance that was told to end did with %s", code)
	}
	if other, _ := b.page(s.at("instance3") + link); !strings.Contains(other, "Allergic to penicillin.") {
		t.Error("another instance does not go on")
	}
	s.up() // the third is started again, and -setup finds everything there
	s.ready("instance2")
	if again, _ := b.page(s.at("instance2") + link); !strings.Contains(again, "Allergic to penicillin.") {
		t.Error("the instance does not serve what there was")
	}
	s.do("restart", "instance3", "sealer")
	clear(s.urls)
	s.ready("instance3")
	_, request = b.page(s.at("instance3") + link)
	s.eventually("the trail going on", func() bool {
		trail, _ := b.page(s.at("instance1") + "/trail")
		return strings.Contains(trail, request[:8])
	})
	logs := s.do("logs", "--no-color")
	if !strings.Contains(logs, "GET /at/{clinic}/patients/{id}") {
		t.Errorf("the logs are\n%s", logs)
	}
	for line := range strings.Lines(logs) {
		for _, personal := range []string{"Byrne", "penicillin", "dr.adams", "token="} {
			if strings.Contains(line, personal) {
				t.Errorf("%q is in the log: %s", personal, line)
			}
		}
	}
}
