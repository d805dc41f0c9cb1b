package service

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/load"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
)

// TestInstances runs three instances on PostgreSQL, a Vault of three nodes and S3. While they are driven, one of them, Vault's
// leader, and the connections to the database are killed in turn. Then the checker accounts for every write that was acknowledged,
// and for every event.
func TestInstances(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster")
	}
	postgres, s3 := testenv.Postgres(t).NewDatabase(t), s3env.Server(t)
	vault := testenv.VaultCluster(t)
	balancer := balance(t, vault)
	s3.Setenv(t)
	super := connect(t, postgres.SuperURL)
	roles, err := os.ReadFile("../../roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := super.Exec(string(roles)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	role := func(name string) string {
		u, err := url.Parse(postgres.SuperURL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("clinic_"+name, name)
		return u.String()
	}
	servers := []string{"-keys", role("keys"), "-vault", balancer.url, "-s3", s3.BucketURL(s3.NewBucket(t)), "-secrets", filepath.Join(dir, "secrets")}
	instance := append([]string{"-postgres", role("app"), "-trail-db", role("audit")}, servers...)

	t.Setenv("VAULT_TOKEN", vault[0].RootToken)
	var said bytes.Buffer
	for range 2 { // the second time all is there
		if err := Run(t.Context(), append([]string{"-setup", "-owner", role("owner")}, instance...), io.Discard, &said, nil); err != nil {
			t.Fatalf("%v\n%s", err, &said)
		}
	}
	t.Setenv("VAULT_TOKEN", "")

	issuer := start(t, "-issue", "-listen", "127.0.0.1:0")
	instance = append(instance, "-issuer", issuer.url)
	var instances []*process
	var services []string
	for range 3 {
		p := start(t, append([]string{"-listen", "127.0.0.1:0"}, instance...)...)
		instances, services = append(instances, p), append(services, p.url)
	}
	logDir := filepath.Join(dir, "trail")
	endSealer := seal(t, logDir, role("seal"), filepath.Join(dir, "secrets", streamKey))

	journal, err := os.Create(filepath.Join(dir, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	client, err := session.Client(issuer.url, false)
	if err != nil {
		t.Fatal(err)
	}
	l, err := load.New(load.Options{Services: services, Clinics: []string{"harbor", "hillside"}, Journal: journal, Workers: 6, PerSecond: 150,
		Tokens: func(ctx context.Context, clinic string) (string, error) {
			return session.At(issuer.url, client).Issue(ctx, clinic, "dr.adams")
		}})
	if err != nil {
		t.Fatal(err)
	}
	driving, endLoad := context.WithCancel(t.Context())
	defer endLoad()
	driven := make(chan error, 1)
	go func() { driven <- l.Run(driving) }()
	// more waits until so many further requests were answered as they should be.
	more := func(n int64, while string) {
		t.Helper()
		want := l.Acknowledged() + n
		eventually(t, "the service going on "+while, func() bool {
			select {
			case err := <-driven:
				t.Fatalf("%s, the load ended: %v", while, err)
			default:
			}
			return l.Acknowledged() >= want
		})
		t.Logf("%s: %v", while, l)
	}

	more(150, "undisturbed")
	instances[1].Process.Kill() // SIGKILL
	instances[1].Wait()
	more(100, "without an instance")
	address := strings.TrimPrefix(services[1], "http://")
	instances[1] = start(t, append([]string{"-listen", address}, instance...)...)
	more(60, "with all of them again")

	killLeader(t, vault)
	more(100, "without Vault's leader")

	for range 3 {
		if _, err := super.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'clinic_%'`); err != nil {
			t.Fatal(err)
		}
		more(40, "after the database's connections were cut")
	}

	// Readiness tells that Vault is away, and as tenants in use need no Vault for a while, the instances stay in service.
	eventually(t, "Vault's new leader", func() bool { _, body := get(t, services[0]+"/readyz"); return strings.Contains(body, `"vault":"ok"`) })
	balancer.cut(true)
	eventually(t, "readiness without Vault", func() bool { _, body := get(t, services[0]+"/readyz"); return strings.Contains(body, `"vault":"away`) })
	more(60, "without any Vault")
	balancer.cut(false)
	for _, at := range services {
		eventually(t, "readiness", func() bool {
			status, body := get(t, at+"/readyz")
			return status == 200 && strings.Count(body, `"ok"`) == 3
		})
	}

	endLoad()
	if err := <-driven; err != nil {
		t.Fatal(err)
	}
	for _, p := range instances {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range instances {
		if err := p.Wait(); err != nil {
			t.Errorf("instance %d ended with %v\n%s", i, err, p.log)
		}
	}
	endSealer()
	var report bytes.Buffer
	err = Run(t.Context(), append([]string{"-check", "-journal", journal.Name(), "-postgres", postgres.SuperURL, "-trail", logDir}, servers...), &report, io.Discard, nil)
	t.Logf("\n%s", &report)
	if err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// seal has a sealer take the trail from the database into a log, as the command auditctl seal does. What it returns ends it, when
// everything is in the log.
func seal(t *testing.T, dir, dsn, key string) (end func()) {
	t.Helper()
	log, err := audit.OpenLog(dir, &audit.Options{ReserveBytes: -1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(secret)))
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pglog.OpenSealer(t.Context(), config, log, pglog.SealOptions{Table: trailName, Signers: []note.Signer{signer}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		for more := true; more; {
			var found pglog.Sealed
			eventually(t, "the end of the session that was cut off", func() bool {
				found, err = s.Round(context.Background())
				return !errors.Is(err, pglog.ErrSealing)
			})
			if err != nil {
				t.Fatal(err)
			}
			more = found.Events > 0 || found.More
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}

func killLeader(t *testing.T, nodes []*testenv.VaultNode) {
	t.Helper()
	for _, n := range nodes {
		if n.Leads(t) {
			n.Kill(t)
			return
		}
	}
	t.Fatal("Vault has no leader")
}

// balancer is a load balancer that knows nothing of Vault: it takes connections to whichever node accepts them, in turn.
type balancer struct {
	url string

	mu    sync.Mutex
	turn  int
	off   bool
	conns []net.Conn
}

func balance(t *testing.T, nodes []*testenv.VaultNode) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{url: "http://" + listener.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		b.cut(true)
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				node := b.dial(nodes, client)
				if node == nil {
					return
				}
				all.Go(func() { io.Copy(node, client); node.Close() })
				io.Copy(client, node)
			})
		}
	})
	return b
}

func (b *balancer) dial(nodes []*testenv.VaultNode, client net.Conn) net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range nodes {
		if b.off {
			return nil
		}
		b.turn++
		if node, err := net.Dial("tcp", strings.TrimPrefix(nodes[b.turn%len(nodes)].Addr, "http://")); err == nil {
			b.conns = append(b.conns, client, node)
			return node
		}
	}
	return nil
}

// cut has the balancer drop all connections, and take none while it is off.
func (b *balancer) cut(off bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off = off
	for _, c := range b.conns {
		c.Close()
	}
	b.conns = nil
}
