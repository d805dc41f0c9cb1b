package vaultkek_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
	"github.com/strongroom-go/strongroom/tenant"
)

// balance is a load balancer that knows nothing of Vault: it takes connections to whichever node accepts them, in turns.
func balance(t testing.TB, nodes []*testenv.VaultNode) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		listener.Close()
		all.Wait()
	})
	var turn atomic.Int64
	pass := func(client net.Conn) {
		defer client.Close()
		for range nodes {
			address := strings.TrimPrefix(nodes[int(turn.Add(1))%len(nodes)].Addr, "http://")
			node, err := net.Dial("tcp", address)
			if err != nil {
				continue
			}
			stop := context.AfterFunc(ctx, func() { node.Close(); client.Close() })
			all.Go(func() {
				io.Copy(node, client)
				node.Close()
			})
			io.Copy(client, node)
			stop()
			return
		}
	}
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(c) })
		}
	})
	return "http://" + listener.Addr().String()
}

// acknowledged is what a tenant's keyring has said is done.
type acknowledged struct {
	id     tenant.ID
	sealed []byte // by the tenant's data key
}

// TestTheLeaderIsKilledUnderLoad: nothing that was acknowledged is lost, errors say that trying again may help, nothing is
// done more often than it was asked for, tenants in use notice nothing, and cold ones are served again without a restart.
func TestTheLeaderIsKilledUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster of three")
	}
	nodes := testenv.VaultCluster(t)
	first := nodes[0]
	const mount, auth = "transit", "approle"
	root := first.Client(t)
	must(t, root.Sys().MountWithContext(t.Context(), mount, &api.MountInput{Type: "transit"}))
	must(t, root.Sys().EnableAuthWithOptionsWithContext(t.Context(), auth, &api.EnableAuthOptions{Type: "approle"}))
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), map[string]any{"token_ttl": "1h"})
	address := balance(t, nodes)
	provider := func() *vaultkek.KEK {
		return open(t, address, newAppRole(t, roleID, secretID, auth), &vaultkek.Options{Mount: mount})
	}
	store, err := filestore.Open(t.TempDir()+"/records", nil)
	must(t, err)
	ring := func(k *vaultkek.KEK) *keys.Keyring {
		r, err := keys.Open(t.Context(), k, store, &keys.Options{InsecureWithoutAudit: true})
		must(t, err)
		return r
	}
	shared := provider()
	r := ring(shared)
	t.Cleanup(func() { r.Close() })

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	work, stop := context.WithCancel(ctx)
	defer stop()
	var (
		mu       sync.Mutex
		done     []acknowledged
		failed   atomic.Int64
		workers  sync.WaitGroup
		progress = make(chan bool, 1)
	)
	note := func(a acknowledged) {
		mu.Lock()
		done = append(done, a)
		mu.Unlock()
		select {
		case progress <- true:
		default:
		}
	}
	fine := func(what string, err error) bool {
		if err != nil && work.Err() == nil {
			failed.Add(1)
			if !errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return err == nil
	}
	for w := range 4 { // provision tenants, and seal with their keys
		workers.Go(func() {
			for i := 0; work.Err() == nil; {
				id := tenant.MustParse(fmt.Sprintf("w%d-%d", w, i))
				if !fine("provision", r.Provision(work, id)) {
					continue
				}
				k, err := r.Tenant(work, id)
				if !fine("open", err) {
					continue
				}
				sealed, err := k.Data().Encrypt([]byte(plaintext), nil)
				must(t, err)
				note(acknowledged{id, sealed})
				i++
			}
		})
	}
	var asked, rotated atomic.Int64
	turning := tenant.MustParse("turning")
	must(t, r.Provision(ctx, turning))
	workers.Go(func() { // rotate one tenant's KEK
		for work.Err() == nil {
			asked.Add(1)
			if fine("rotate", r.RotateKEK(work, turning, "")) {
				rotated.Add(1)
			}
		}
	})
	hot := tenant.MustParse("hot")
	must(t, r.Provision(ctx, hot))
	workers.Go(func() { // what is open needs no Vault
		for ; work.Err() == nil; time.Sleep(time.Millisecond) {
			if _, err := r.Tenant(work, hot); err != nil && work.Err() == nil {
				t.Errorf("a tenant in use: %v", err)
			}
		}
	})
	for range 2 { // open what is not in the cache
		workers.Go(func() {
			for work.Err() == nil {
				cold := ring(shared)
				mu.Lock()
				var any tenant.ID
				if len(done) > 0 {
					any = done[len(done)/2].id
				}
				mu.Unlock()
				if !any.IsZero() {
					_, err := cold.Tenant(work, any)
					fine("open cold", err)
				}
				cold.Close()
			}
		})
	}
	await := func(more int) {
		t.Helper()
		mu.Lock()
		want := len(done) + more
		mu.Unlock()
		for {
			mu.Lock()
			n := len(done)
			mu.Unlock()
			if n >= want {
				return
			}
			select {
			case <-progress:
			case <-ctx.Done():
				t.Fatalf("%d tenants, want %d: %v", n, want, ctx.Err())
			}
		}
	}
	await(40)
	if !first.Leads(t) {
		t.Fatal("the first node does not lead")
	}
	mu.Lock()
	before := len(done)
	mu.Unlock()
	first.Kill(t)
	killed := time.Now()
	await(1)
	t.Logf("killed after %d tenants, the next one was provisioned %v later; %d calls had failed", before, time.Since(killed).Round(time.Millisecond), failed.Load())
	await(40)
	stop()
	workers.Wait()
	if failed.Load() == 0 {
		t.Error("nothing failed: was it the leader?")
	}

	fresh := ring(provider()) // nothing of it was there before
	t.Cleanup(func() { fresh.Close() })
	for _, a := range done {
		k, err := fresh.Tenant(ctx, a.id)
		if err != nil {
			t.Errorf("acknowledged, and lost: %v", err)
			continue
		}
		if got, err := k.Data().Decrypt(a.sealed, nil); err != nil || string(got) != plaintext {
			t.Errorf("%s: %v", a.id, err)
		}
	}
	_, err = fresh.Tenant(ctx, turning)
	must(t, err)
	key, err := nodes[1].Client(t).Logical().ReadWithContext(ctx, mount+"/keys/strongroom-"+turning.Segment())
	must(t, err)
	versions, err := key.Data["latest_version"].(json.Number).Int64()
	must(t, err)
	if versions-1 < rotated.Load() || versions-1 > asked.Load() {
		t.Errorf("%d rotations in Vault; %d were asked for, and %d acknowledged", versions-1, asked.Load(), rotated.Load())
	}
	t.Logf("%d tenants; %d rotations in Vault, of %d asked for and %d acknowledged; %d calls failed", len(done), versions-1, asked.Load(), rotated.Load(), failed.Load())
}
