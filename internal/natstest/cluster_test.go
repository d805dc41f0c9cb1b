package natstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit/natslog"
)

const nodes = 3

// cluster is three servers, each a process, which reach each other through relays that can be cut.
type cluster struct {
	dir    string
	binary string
	ports  [nodes]int
	links  [nodes][nodes]*link // from the first to the second
	procs  [nodes]*exec.Cmd
	admin  *nats.Conn
	js     jetstream.JetStream
}

const streams = 64 // that the servers have users for

var (
	shared     *cluster
	sharedOnce sync.Once
	sharedErr  error
	used       atomic.Int32
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startCluster starts the cluster that tests share, one after the other.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	sharedOnce.Do(func() { shared, sharedErr = newCluster() })
	t.Cleanup(func() {
		if t.Failed() && shared != nil {
			shared.dump(t)
		}
	})
	must(t, sharedErr)
	shared.heal(t)
	return shared
}

func newCluster() (*cluster, error) {
	dir, err := os.MkdirTemp("", "strongroom-nats-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, binary: filepath.Join(dir, "nats-server")}
	if out, err := exec.Command("go", "build", "-o", c.binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the server: %w\n%s", err, out)
	}
	var routes [nodes]int
	for i := range nodes {
		if c.ports[i], err = freePort(); err == nil {
			routes[i], err = freePort()
		}
		if err != nil {
			return nil, err
		}
	}
	users := c.users()
	for i := range nodes {
		var peers []string
		for j := range nodes {
			if i == j {
				continue
			}
			if c.links[i][j], err = newLink(routes[j]); err != nil {
				return nil, err
			}
			peers = append(peers, "nats-route://"+c.links[i][j].addr())
		}
		// A node that hears of another from a third gets no answer there: all routes are through the relays.
		config := fmt.Sprintf(`server_name: n%d
listen: 127.0.0.1:%d
max_payload: 4MB
jetstream { store_dir: %q, max_mem: 256MB, max_file: 4GB }
cluster { name: trail, listen: 127.0.0.1:%d, advertise: "127.0.0.1:1", no_advertise: true, connect_retries: 1000000, routes: [%s] }
system_account: SYS
accounts {
  SYS { users: [{user: sys, password: sys}] }
  TRAIL { jetstream: enabled, users: [{user: admin, password: admin}%s] }
}
`, i, c.ports[i], filepath.Join(dir, fmt.Sprint("data", i)), routes[i], strings.Join(peers, ", "), users)
		if err := os.WriteFile(c.file(i, "conf"), []byte(config), 0o600); err != nil {
			return nil, err
		}
		if err := c.start(i); err != nil {
			return nil, err
		}
	}
	if c.admin, err = nats.Connect(c.servers("admin"), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true)); err != nil {
		return nil, err
	}
	if c.js, err = jetstream.New(c.admin); err != nil {
		return nil, err
	}
	return c, c.settle(c.js)
}

// users are those of every stream that a test may have, with just the rights that natslog says.
func (c *cluster) users() string {
	var b strings.Builder
	for i := range streams {
		recorder, sealer := natslog.Permissions(streamName(i))
		for who, r := range map[string]natslog.Rights{"recorder": recorder, "sealer": sealer} {
			fmt.Fprintf(&b, `, {user: %s-%s, password: secret-%s, permissions: {publish: {allow: ["%s"]}, subscribe: {allow: ["%s"]}}}`, who, streamName(i), who,
				strings.Join(r.Publish, `", "`), strings.Join(r.Subscribe, `", "`))
		}
	}
	// Two that lack something.
	recorder, _ := natslog.Permissions(streamName(streams - 1))
	for i, who := range []string{"mute", "blind"} {
		fmt.Fprintf(&b, `, {user: %s, password: %s, permissions: {publish: {allow: ["%s"]}, subscribe: {allow: ["%s"]}}}`, who, who,
			recorder.Publish[1-i], strings.Join(recorder.Subscribe, `", "`))
	}
	return b.String()
}

func streamName(i int) string { return fmt.Sprintf("TRAIL_%02d", i) }

// servers is the URL list of a user.
func (c *cluster) servers(user string) string {
	password := user
	if who, _, ok := strings.Cut(user, "-"); ok {
		password = "secret-" + who
	}
	var urls []string
	for _, p := range c.ports {
		urls = append(urls, fmt.Sprintf("nats://%s:%s@127.0.0.1:%d", user, password, p))
	}
	return strings.Join(urls, ",")
}

func (c *cluster) file(i int, ext string) string {
	return filepath.Join(c.dir, fmt.Sprintf("n%d.%s", i, ext))
}

func (c *cluster) start(i int) error {
	log, err := os.OpenFile(c.file(i, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.binary, "-c", c.file(i, "conf"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.procs[i] = cmd
	return nil
}

// kill takes a node away as a loss of power of its machine would, but for the disk's cache.
func (c *cluster) kill(t testing.TB, i int) {
	t.Helper()
	must(t, c.procs[i].Process.Kill())
	c.procs[i].Wait() // it was killed
	c.procs[i] = nil
}

func (c *cluster) restart(t testing.TB, i int) {
	t.Helper()
	must(t, c.start(i))
}

// cut separates a node from the two others. Clients reach all of them.
func (c *cluster) cut(i int, is bool) {
	for j := range nodes {
		if i != j {
			c.links[i][j].cut(is)
			c.links[j][i].cut(is)
		}
	}
}

// heal undoes what a test has left.
func (c *cluster) heal(t testing.TB) {
	t.Helper()
	for i := range nodes {
		c.cut(i, false)
		if c.procs[i] == nil {
			c.restart(t, i)
		}
		c.procs[i].Process.Signal(syscall.SIGCONT)
	}
	must(t, c.settle(c.js))
}

// settle waits until the cluster can make a stream, which takes all three nodes.
func (c *cluster) settle(js jetstream.JetStream) error {
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var s jetstream.Stream
		s, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "SETTLE", Subjects: []string{"settle"}, Replicas: nodes})
		if err == nil {
			var info *jetstream.StreamInfo
			if info, err = s.Info(ctx); err == nil {
				for _, r := range info.Cluster.Replicas {
					if !r.Current || r.Offline {
						err = fmt.Errorf("%s is not current", r.Name)
					}
				}
			}
		}
		if err == nil {
			err = js.DeleteStream(ctx, "SETTLE")
		}
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the cluster did not settle: %w", err)
}

// leader returns the node that leads a stream.
func (c *cluster) leader(t testing.TB, stream string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		s, err := c.js.Stream(ctx, stream)
		cancel()
		if err != nil {
			continue
		}
		var i int
		if info := s.CachedInfo().Cluster; info != nil && info.Leader != "" {
			if _, err := fmt.Sscanf(info.Leader, "n%d", &i); err == nil {
				return i
			}
		}
	}
	t.Fatal("the stream has no leader")
	return 0
}

func (c *cluster) dump(t testing.TB) {
	for i := range nodes {
		if data, err := os.ReadFile(c.file(i, "log")); err == nil {
			lines := bytes.Split(data, []byte("\n"))
			t.Logf("node %d:\n%s", i, bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
		}
	}
}

func (c *cluster) close() {
	c.admin.Close()
	for _, p := range c.procs {
		if p != nil {
			p.Process.Kill()
			p.Wait() // it was killed
		}
	}
	os.RemoveAll(c.dir)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
