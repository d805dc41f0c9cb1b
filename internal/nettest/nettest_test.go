package nettest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/rs/zerolog"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/sqlstore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { os.Exit(testenv.Run(m.Run)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// line is a network line to one server.
type line struct{ *toxiproxy.Proxy }

func newLine(t *testing.T, upstream string) *line {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{toxiproxy.NewProxy(server, "line", "127.0.0.1:0", upstream)}
	must(t, l.Start())
	t.Cleanup(l.Stop)
	return l
}

// toxic has the line behave badly, both ways.
func toxic(text string) func(*testing.T, *line) (end func()) {
	return func(t *testing.T, l *line) func() {
		for _, way := range []string{"upstream", "downstream"} {
			_, err := l.Toxics.AddToxicJson(strings.NewReader(strings.Replace(text, "{", `{"name":"`+way+`","stream":"`+way+`",`, 1)))
			if err != nil {
				t.Error(err)
			}
		}
		return func() { l.Toxics.ResetToxics(context.Background()) }
	}
}

// flapping has the line come and go.
func flapping(_ *testing.T, l *line) (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	listen := l.Listen
	go func() {
		defer close(ended)
		for {
			l.Stop()
			select {
			case <-time.After(150 * time.Millisecond):
			case <-done:
				l.Listen = listen
				_ = l.Start()
				return
			}
			l.Listen = listen
			_ = l.Start()
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() { close(done); <-ended }
}

// counted is a KEK provider that counts how often it is asked for each tenant.
type counted struct {
	keys.KEK
	mu    sync.Mutex
	calls map[tenant.ID]int
}

func (c *counted) Unwrap(ctx context.Context, id tenant.ID, wrapped []byte) ([]byte, error) {
	c.mu.Lock()
	c.calls[id]++
	c.mu.Unlock()
	return c.KEK.Unwrap(ctx, id, wrapped)
}

// servers are a Vault and a PostgreSQL with tenants whose keys and records are there.
type servers struct {
	vault    *testenv.VaultServer
	database *testenv.Database
	mount    string
	hot      tenant.ID
	cold     []tenant.ID
}

func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{vault: testenv.Vault(t), database: testenv.Postgres(t).NewDatabase(t), hot: tenant.MustParse("hot")}
	s.mount = s.vault.EnableTransit(t)
	owner, err := sql.Open("pgx", s.database.OwnerURL)
	must(t, err)
	defer owner.Close()
	must(t, sqlstore.Create(t.Context(), owner, dialect.PostgreSQL, ""))
	setup := s.site(t).ring(t, &keys.Options{Timeout: time.Minute, SuspendWithin: time.Hour})
	for i := range 8 {
		s.cold = append(s.cold, tenant.MustParse(fmt.Sprint("cold", i)))
	}
	for _, id := range append(s.cold, s.hot) {
		must(t, setup.Provision(t.Context(), id))
	}
	return s
}

// site is one user of the servers, who has a line of his own to each.
type site struct {
	*servers
	vaultLine, postgresLine *line
	kek                     *counted
	store                   *sqlstore.Store
}

func (s *servers) site(t *testing.T) *site {
	t.Helper()
	vaultURL, err := url.Parse(s.vault.Addr)
	must(t, err)
	databaseURL, err := url.Parse(s.database.AppURL)
	must(t, err)
	x := &site{servers: s, vaultLine: newLine(t, vaultURL.Host), postgresLine: newLine(t, databaseURL.Host)}
	databaseURL.Host = x.postgresLine.Listen
	db, err := sql.Open("pgx", databaseURL.String())
	must(t, err)
	t.Cleanup(func() { db.Close() })
	x.store, err = sqlstore.Open(t.Context(), db, dialect.PostgreSQL, nil)
	must(t, err)
	kek, err := vaultkek.Open(t.Context(), "http://"+x.vaultLine.Listen, vaultkek.Token(s.vault.RootToken), &vaultkek.Options{Mount: s.mount, Timeout: time.Second})
	must(t, err)
	t.Cleanup(func() { kek.Close() })
	x.kek = &counted{KEK: kek, calls: map[tenant.ID]int{}}
	return x
}

func (s *site) ring(t *testing.T, o *keys.Options) *keys.Keyring {
	t.Helper()
	o.InsecureWithoutAudit = true
	r, err := keys.Open(t.Context(), s.kek, s.store, o)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// eventually asks until that is what comes of it.
func eventually(t *testing.T, r *keys.Keyring, id tenant.ID, want error) {
	t.Helper()
	for {
		switch _, err := r.Tenant(t.Context(), id); {
		case err == want || want != nil && errors.Is(err, want):
			return
		case t.Context().Err() != nil:
			t.Errorf("%s: %v; want %v", id, err, want)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kind is what a line does to the questions that it carries.
type kind int

const (
	works  kind = iota // all are answered in time
	either             // some are
	broken             // none are
)

// TestABadNetwork: with each line bad in each way, tenants in use are served or refused as the policy says, cold ones may be tried
// again, the KEK provider is not overrun, all comes back by itself, and nothing is left behind.
func TestABadNetwork(t *testing.T) {
	s := newServers(t)
	t.Run("lines", func(t *testing.T) {
		for name, c := range map[string]struct {
			begin func(*testing.T, *line) func()
			kind  kind
		}{
			"latency":          {toxic(`{"type":"latency","attributes":{"latency":20,"jitter":10}}`), works},
			"great-latency":    {toxic(`{"type":"latency","attributes":{"latency":5000}}`), broken},
			"little-bandwidth": {toxic(`{"type":"bandwidth","attributes":{"rate":1}}`), either},
			"reset":            {toxic(`{"type":"reset_peer","attributes":{"timeout":0}}`), broken},
			"reset-later":      {toxic(`{"type":"reset_peer","attributes":{"timeout":100}}`), broken},
			"half-open":        {toxic(`{"type":"timeout","attributes":{"timeout":0}}`), broken},
			"cut-short":        {toxic(`{"type":"limit_data","attributes":{"bytes":40}}`), broken},
			"flapping":         {flapping, either},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var all sync.WaitGroup
				for _, vault := range []bool{true, false} {
					for _, when := range []keys.Policy{keys.FailNow, keys.ServeStale} {
						o := newOutage(t, s, vault, when, c.kind)
						all.Go(func() { o.play(t, c.begin) })
					}
				}
				all.Wait()
			})
		}
	})
	for left := 1; left > 0; time.Sleep(5 * time.Millisecond) {
		if left = begunByKeys(); t.Context().Err() != nil {
			t.Fatalf("%d goroutines are left", left)
		}
	}
}

// outage is one line that is bad, and a keyring that depends on it and has a tenant in use.
type outage struct {
	*site
	line  *line
	name  string
	when  keys.Policy
	kind  kind
	ring  *keys.Keyring
	stale atomic.Int64
}

func newOutage(t *testing.T, s *servers, vault bool, when keys.Policy, is kind) *outage {
	o := &outage{site: s.site(t), when: when, kind: is}
	o.line, o.name = o.postgresLine, "postgres"
	if vault {
		o.line, o.name = o.vaultLine, "vault"
	}
	o.name += map[keys.Policy]string{keys.FailNow: ", FailNow", keys.ServeStale: ", ServeStale"}[when]
	// An answer that does not come is given up well within the bounds, however busy the machine is.
	options := &keys.Options{WhenUnavailable: when, ReopenAfter: 2 * time.Second, SuspendWithin: 2 * time.Second, Timeout: 700 * time.Millisecond,
		OnStale: func(tenant.ID, time.Duration) { o.stale.Add(1) }}
	if is == works {
		options.ReopenAfter, options.SuspendWithin, options.Timeout = time.Minute, time.Minute, time.Minute
	}
	o.ring = o.site.ring(t, options)
	eventually(t, o.ring, o.hot, nil)
	clear(o.kek.calls)
	return o
}

func (o *outage) play(t *testing.T, begin func(*testing.T, *line) func()) {
	began := time.Now()
	end := sync.OnceFunc(begin(t, o.line))
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var callers sync.WaitGroup
	for i := range 2 * len(o.cold) {
		callers.Go(func() {
			for ctx.Err() == nil {
				_, err := o.ring.Tenant(ctx, o.cold[i%len(o.cold)])
				if err != nil && ctx.Err() == nil && (o.kind == works || !errors.Is(err, keys.ErrUnavailable) || errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrIntegrity)) {
					t.Errorf("%s: a cold tenant: %v", o.name, err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	o.use(ctx, t)
	cancel()
	callers.Wait()
	seconds := int(time.Since(began)/time.Second) + 2
	o.kek.mu.Lock()
	for id, n := range o.kek.calls {
		// After a failure a second passes, and opened keys last for longer.
		if n > seconds {
			t.Errorf("%s: the KEK provider was asked %d times about %s in %d s", o.name, n, id, seconds)
		}
	}
	o.kek.mu.Unlock()
	end()
	for _, id := range append(o.cold[:len(o.cold):len(o.cold)], o.hot) {
		eventually(t, o.ring, id, nil)
	}
	o.ring.Close()
}

// use asks for the tenant in use until it shows what the policy does, which it does not on a line that works, and need not on one
// that does now and then.
func (o *outage) use(ctx context.Context, t *testing.T) {
	for enough := time.Now().Add(3 * time.Second); o.kind == broken || time.Now().Before(enough); time.Sleep(5 * time.Millisecond) {
		_, err := o.ring.Tenant(ctx, o.hot)
		if err != nil && (o.kind == works || o.when == keys.ServeStale || !errors.Is(err, keys.ErrUnavailable)) {
			t.Errorf("%s: a tenant in use: %v", o.name, err)
		}
		if err != nil || o.stale.Load() > 0 {
			break
		}
	}
	if o.kind == works && o.stale.Load() > 0 {
		t.Errorf("%s: a tenant is served stale although nothing is away", o.name)
	}
}

// begunByKeys counts the goroutines that package keys has begun.
func begunByKeys() int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "created by github.com/strongroom-go/strongroom/keys.")
}
