package composetest

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
	"github.com/strongroom-go/strongroom/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	root = "../../../.."
	dir  = "../.."
	file = dir + "/compose.yaml"
)

// composition is what the tests read of a compose file.
type composition struct {
	Services map[string]struct {
		Image string
		Build struct {
			Context, Dockerfile string
			Args                map[string]string
		}
		Entrypoint  []string
		Command     []string
		Environment map[string]string
		Ports       []string
		Volumes     []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct{ Test []string }
	}
	Volumes map[string]any
}

func read(t *testing.T) composition {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c composition
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 9 {
		t.Fatalf("only %d services were read", len(c.Services))
	}
	return c
}

// usage is what the clinic says of its flags.
func usage(t *testing.T) string {
	t.Helper()
	var said bytes.Buffer
	if err := service.Run(t.Context(), []string{"-h"}, io.Discard, &said, nil); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	return said.String()
}

// TestEnvironment: the variables of the file are read by the program, by these names.
func TestEnvironment(t *testing.T) {
	known := regexp.MustCompile(`\$(CLINIC_[A-Z0-9_]+)`).FindAllStringSubmatch(usage(t), -1)
	reads := map[string]bool{
		"AWS_ACCESS_KEY_ID": true, "AWS_SECRET_ACCESS_KEY": true, // by the SDK
		"VAULT_TOKEN": true, // by -setup
	}
	for _, m := range known {
		reads[m[1]] = true
	}
	if len(known) < 10 {
		t.Fatalf("only %d variables were found", len(known))
	}
	for name, s := range read(t).Services {
		if s.Build.Dockerfile == "" || len(s.Entrypoint) > 0 && s.Entrypoint[0] != "/clinic" {
			continue
		}
		for v := range s.Environment {
			if !reads[v] {
				t.Errorf("%s is given %s, which the program does not read", name, v)
			}
		}
	}
}

// TestCommands: the programs take the flags that the file gives them.
func TestCommands(t *testing.T) {
	auditctl := filepath.Join(t.TempDir(), "auditctl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", auditctl, "./audit/auditctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := 0
	for name, s := range read(t).Services {
		if s.Build.Dockerfile == "" {
			continue
		}
		seen++
		// -h behind the flags: those before it are known, or it is not reached.
		if len(s.Entrypoint) == 0 {
			if err := service.Run(t.Context(), append(slices.Clone(s.Command), "-h"), io.Discard, io.Discard, nil); !errors.Is(err, flag.ErrHelp) {
				t.Errorf("%s: the clinic takes no %q: %v", name, s.Command, err)
			}
			continue
		}
		if !slices.Equal(s.Entrypoint, []string{"/auditctl"}) {
			t.Errorf("%s begins with %q", name, s.Entrypoint)
			continue
		}
		flags, last := s.Command[:len(s.Command)-1], s.Command[len(s.Command)-1]
		out, err := exec.CommandContext(t.Context(), auditctl, append(slices.Clone(flags), "-h")...).CombinedOutput()
		if strings.HasPrefix(last, "-") || strings.Contains(string(out), "not defined") || !strings.Contains(string(out), "stream-key") {
			t.Errorf("%s: auditctl takes no %q: %v\n%s", name, s.Command, err, out)
		}
	}
	if seen < 6 {
		t.Errorf("only %d services are the clinic's", seen)
	}
}

// TestServersAreThere: what services are told of each other is so: names, ports, roles, passwords, the bucket's credentials, the token.
func TestServersAreThere(t *testing.T) {
	c := read(t)
	roles, err := os.ReadFile(filepath.Join(dir, "roles.sql"))
	if err != nil {
		t.Fatal(err)
	}
	listens := map[string]string{"postgres": "5432"} // its default
	port := regexp.MustCompile(`(?:-listen-address=[\d.]*|^[\d.]*):(\d+)$`)
	for name, s := range c.Services {
		for _, word := range s.Command {
			if m := port.FindStringSubmatch(word); m != nil {
				listens[name] = m[1]
			}
		}
	}
	urls := 0
	var check func(name, raw string)
	check = func(name, raw string) {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme == "" || u.Host == "" {
			return
		}
		urls++
		host, want := u.Hostname(), u.Port()
		if u.Scheme == "s3" {
			check(name, u.Query().Get("endpoint"))
			return
		}
		if _, there := c.Services[host]; !there && host != "127.0.0.1" {
			t.Errorf("%s is sent to %s, which is no service", name, host)
		}
		if want != "" && want != listens[host] {
			t.Errorf("%s is sent to %s:%s, which listens at %q", name, host, want, listens[host])
		}
		if u.Scheme == "postgres" {
			password, _ := u.User.Password()
			role := regexp.MustCompile(`(?m)^CREATE ROLE ` + regexp.QuoteMeta(u.User.Username()) + `\s+LOGIN .* PASSWORD '` + regexp.QuoteMeta(password) + `';`)
			if !role.Match(roles) {
				t.Errorf("%s is %s, whom roles.sql does not make with that password", name, u.User.Username())
			}
			if database := c.Services["postgres"].Environment["POSTGRES_DB"]; u.Path != "/"+database {
				t.Errorf("%s uses the database %s; there is %s", name, u.Path, database)
			}
		}
	}
	for name, s := range c.Services {
		if name == "vault" {
			continue // its own address, for its health check
		}
		for _, value := range s.Environment {
			check(name, value)
		}
		for _, value := range slices.Concat(s.Command, s.Healthcheck.Test) {
			check(name, value)
		}
		for other, d := range s.DependsOn {
			target, there := c.Services[other]
			if !there || d.Condition == "service_healthy" && len(target.Healthcheck.Test) == 0 {
				t.Errorf("%s waits for %s, which is not there or has no health check", name, other)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, named := c.Volumes[from]
			_, err := os.Stat(filepath.Join(dir, from))
			if !named && (!strings.HasPrefix(from, "./") || err != nil) {
				t.Errorf("%s mounts %s, which is no volume and no file", name, from)
			}
		}
	}
	if urls < 30 {
		t.Errorf("only %d URLs were looked at", urls)
	}
	setup, s3 := c.Services["setup"].Environment, c.Services["s3"].Environment
	if setup["AWS_ACCESS_KEY_ID"] != s3["ROOT_ACCESS_KEY_ID"] || setup["AWS_SECRET_ACCESS_KEY"] != s3["ROOT_SECRET_ACCESS_KEY"] {
		t.Error("S3 has other credentials than the clinic")
	}
	if !slices.Contains(c.Services["vault"].Command, "-dev-root-token-id="+setup["VAULT_TOKEN"]) {
		t.Error("Vault has another token than -setup")
	}
}

// TestPorts: a published port is the one that the program listens at, and only this machine reaches it.
func TestPorts(t *testing.T) {
	published := 0
	for name, s := range read(t).Services {
		_, listens, err := net.SplitHostPort(s.Environment["CLINIC_LISTEN"])
		for _, p := range s.Ports {
			published++
			if m := regexp.MustCompile(`^127\.0\.0\.1:\$\{CLINIC_PORT\d:-\d+\}:(\d+)$`).FindStringSubmatch(p); err != nil || m == nil || m[1] != listens {
				t.Errorf("%s publishes %s, and listens at %s", name, p, listens)
			}
		}
	}
	if published != 3 {
		t.Errorf("%d ports are published", published)
	}
}

// TestImages: the servers are those of the tests, and what the Dockerfile builds is there.
func TestImages(t *testing.T) {
	defaults, err := os.ReadFile(filepath.Join(root, "internal/testenv/images/defaults"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range read(t).Services {
		m := regexp.MustCompile(`^\$\{CLINIC_([A-Z0-9]+)_IMAGE:-(.+)\}$`).FindStringSubmatch(s.Image)
		switch {
		case s.Build.Dockerfile != "":
			at := filepath.Join(dir, s.Build.Context)
			if _, err := os.Stat(filepath.Join(at, "go.mod")); err != nil {
				t.Errorf("%s is not built in the repository's root: %v", name, err)
			}
			if _, err := os.Stat(filepath.Join(at, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case m == nil || !strings.Contains(string(defaults), "\nSTRONGROOM_"+m[1]+"_IMAGE="+m[2]+"\n"):
			t.Errorf("%s has the image %s, which no test runs against", name, s.Image)
		}
	}
	dockerfile, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	// The Dockerfile's own defaults are the compose file's.
	for name, value := range read(t).Services["issuer"].Build.Args {
		if m := regexp.MustCompile(`^\$\{CLINIC_` + name + `:-(.+)\}$`).FindStringSubmatch(value); m == nil || !strings.Contains(string(dockerfile), "\nARG "+name+"="+m[1]+"\n") {
			t.Errorf("the image is built with %s=%s, which the Dockerfile does not have", name, value)
		}
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	compiler := regexp.MustCompile(`golang:(\d+\.\d+)`).FindStringSubmatch(string(dockerfile))
	needs := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	if compiler == nil || needs == nil || compiler[1] != needs[1] {
		t.Errorf("the image is built with %q, and go.mod says %q", compiler, needs)
	}
	builds := regexp.MustCompile(`go build .* -o /out/ (.+)`).FindStringSubmatch(string(dockerfile))
	if builds == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	for _, program := range strings.Fields(builds[1]) {
		if _, err := os.Stat(filepath.Join(root, program)); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(builds[1], "./examples/clinic") || !strings.Contains(builds[1], "./audit/auditctl") {
		t.Errorf("the Dockerfile builds %s", builds[1])
	}
}
