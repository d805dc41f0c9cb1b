package vaultkek_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// broken is an authentication that does not return from its second login.
type broken struct {
	api.AuthMethod
	logins atomic.Int64
	how    func()
}

func (p *broken) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if p.logins.Add(1) == 2 {
		p.how()
	}
	return p.AuthMethod.Login(ctx, client)
}

// TestWhatDoesNotReturnFromALogin: an authentication, or a function that is told of logins, that panics or ends its goroutine in the background,
// where nobody could recover from it, does not end the process, nor the renewing.
func TestWhatDoesNotReturnFromALogin(t *testing.T) {
	t.Run("panics", func(t *testing.T) {
		testBrokenLogin(t, func() { panic("canary of the application's") }, "the authentication panicked", "authpanic_test.go:")
	})
	t.Run("ends its goroutine", func(t *testing.T) { testBrokenLogin(t, runtime.Goexit, "the authentication ended its goroutine") })
}

func testBrokenLogin(t *testing.T, how func(), says ...string) {
	server := testenv.Vault(t)
	root, mount, auth := server.Client(t), server.EnableTransit(t), server.EnableAppRole(t)
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), map[string]any{"token_ttl": "1s", "token_max_ttl": "2s"})
	logins := make(chan error, 16)
	k := open(t, server.Addr, &broken{AuthMethod: newAppRole(t, roleID, secretID, auth), how: how}, &vaultkek.Options{Mount: mount, OnLogin: func(err error) {
		select {
		case logins <- err:
		default:
		}
		how()
	}})
	err := <-logins
	wantText(t, err, nil, says...)
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("it tells with what: %v", err)
	}
	for range 2 {
		if err := <-logins; err != nil {
			t.Fatal(err)
		}
		works(t, k)
	}
}

// TestWhoWaitsForALoginHasAContext: another call logs in, which takes long; one that has less time is told so when it is over.
func TestWhoWaitsForALoginHasAContext(t *testing.T) {
	server := testenv.Vault(t)
	root, mount, auth := server.Client(t), server.EnableTransit(t), server.EnableAppRole(t)
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), map[string]any{"token_ttl": "1h"})
	begun, goes := make(chan struct{}), make(chan struct{})
	k := open(t, server.Addr, &broken{AuthMethod: newAppRole(t, roleID, secretID, auth), how: func() { close(begun); <-goes }}, &vaultkek.Options{Mount: mount, Timeout: 5 * time.Minute})
	works(t, k)
	must(t, root.Sys().RevokePrefixWithContext(t.Context(), "auth/"+auth+"/login"))
	first := make(chan error, 1)
	go func() {
		_, err := k.Wrap(t.Context(), idA, []byte(plaintext))
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	second := make(chan error, 1)
	go func() {
		_, err := k.Wrap(ctx, idA, []byte(plaintext))
		second <- err
	}()
	select {
	case err := <-second:
		wantErr(t, err, context.DeadlineExceeded)
	case <-time.After(20 * time.Second):
		t.Error("it waits for the login of another")
	}
	close(goes)
	must(t, <-first)
}
