package vaultkek_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// panicky is an authentication that panics at its second login.
type panicky struct {
	api.AuthMethod
	logins atomic.Int64
}

func (p *panicky) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if p.logins.Add(1) == 2 {
		panic("canary of the application's")
	}
	return p.AuthMethod.Login(ctx, client)
}

// TestWhatPanicsAboutALogin: an authentication, or a function that is told of logins, that panics in the background, where nobody could recover
// from it, does not end the process, nor the renewing.
func TestWhatPanicsAboutALogin(t *testing.T) {
	server := testenv.Vault(t)
	root, mount, auth := server.Client(t), server.EnableTransit(t), server.EnableAppRole(t)
	roleID, secretID := appRole(t, root, auth, vaultkek.Policy(mount, ""), map[string]any{"token_ttl": "1s", "token_max_ttl": "2s"})
	logins := make(chan error, 16)
	k := open(t, server.Addr, &panicky{AuthMethod: newAppRole(t, roleID, secretID, auth)}, &vaultkek.Options{Mount: mount, OnLogin: func(err error) {
		select {
		case logins <- err:
		default:
		}
		panic("canary of the application's")
	}})
	err := <-logins
	wantText(t, err, nil, "the authentication panicked", "authpanic_test.go:")
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
