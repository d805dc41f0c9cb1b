package vaultkek

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"

	"github.com/strongroom-go/strongroom/internal/apart"
)

// Token returns the authentication by a token that somebody else obtained. It is renewed as long as Vault lets it be;
// after that nothing works until the process gets another one.
func Token(token string) api.AuthMethod { return tokenAuth(token) }

type tokenAuth string

// Login implements [api.AuthMethod]: it asks Vault about the token, for its lifetime.
func (t tokenAuth) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	if t == "" {
		return nil, errors.New("the token is empty")
	}
	client.SetToken(string(t)) // not on a clone: the client's clones forget that they must not follow redirects
	auth := &api.SecretAuth{ClientToken: string(t)}
	self, err := client.Auth().Token().LookupSelfWithContext(ctx)
	var refused *api.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == 403 && !invalidToken(refused) {
		return &api.Secret{Auth: auth}, nil // it may not look itself up, so its lifetime is not known
	}
	if err != nil {
		return nil, err
	}
	if self == nil {
		return nil, errors.New("the answer says nothing about the token; is this Vault, and not a proxy that redirects?")
	}
	if auth.Renewable, err = self.TokenIsRenewable(); err != nil {
		return nil, errors.New("the token's lifetime cannot be read")
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return nil, errors.New("the token's lifetime cannot be read")
	}
	auth.LeaseDuration = int(ttl / time.Second)
	return &api.Secret{Auth: auth}, nil
}

// AppRole returns the authentication by role id and secret id at an AppRole method mounted at mount, "approle" if
// empty. The secret id must allow as many uses as there will be logins.
func AppRole(roleID, secretID, mount string) (api.AuthMethod, error) {
	if mount == "" {
		mount = "approle"
	}
	if roleID == "" || secretID == "" {
		return nil, errors.New("vaultkek: AppRole needs a role id and a secret id")
	}
	a, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: secretID}, approle.WithMountPath(mount))
	if err != nil {
		return nil, errors.New("vaultkek: AppRole: the role id, the secret id or the mount cannot be used")
	}
	return a, nil
}

// logins are the logins of a provider, one at a time.
type logins struct {
	turn chan struct{} // holds one while somebody has it

	// Of whoever has the turn.
	refusal error         // of the last login, nil if it succeeded
	wait    time.Duration // that the refusal stands for others
	again   time.Time     // when it stands no longer
}

// take waits for the turn, no longer than ctx lasts: a login may take as long as [Options.Timeout], and who waits for it may have less time.
func (l *logins) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *logins) give() { <-l.turn }

// The waits between logins that fail.
const (
	minLoginWait = 200 * time.Millisecond
	maxLoginWait = 5 * time.Second
)

// settle takes note of what came of a login. Each failure doubles the wait, of which at least half is waited: processes
// that lost their tokens together do not come back together.
func (l *logins) settle(err error) {
	if l.refusal = err; err == nil {
		l.wait = 0
		return
	}
	l.wait = min(max(2*l.wait, minLoginWait), maxLoginWait)
	l.again = time.Now().Add(l.wait/2 + rand.N(l.wait/2))
}

// login obtains a token and puts it into use.
func (k *KEK) login(ctx context.Context) (*api.Secret, error) {
	if err := k.logins.take(ctx); err != nil {
		return nil, err
	}
	defer k.logins.give()
	return k.loginLocked(ctx)
}

func (k *KEK) loginLocked(ctx context.Context) (*api.Secret, error) {
	call, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	defer cancel()
	if _, ok := k.auth.(tokenAuth); !ok {
		call = once(call) // it may use up a secret id, or count as a failure
	}
	secret, err := k.ask(call)
	if err == nil && (secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "") {
		err = errors.New("the answer holds no token")
	}
	if err != nil {
		err = fmt.Errorf("vaultkek: log in: %w", k.explain(ctx, k.ended(ctx, err), "auth"))
	}
	if err == nil || ctx.Err() == nil { // a caller that gave up has learnt nothing
		k.logins.settle(err)
	}
	if err != nil {
		return nil, err
	}
	k.client.SetToken(secret.Auth.ClientToken)
	return secret, nil
}

// ask asks the authentication, which may be the application's, or ask it for a token. It is asked on a goroutine of the provider's own, too, on
// which a panic would end the process, and the end of which the renewing. What a panic says may be of a credential, and is not repeated.
func (k *KEK) ask(ctx context.Context) (secret *api.Secret, err error) {
	broke, err := apart.Call(func() (err error) { secret, err = k.auth.Login(ctx, k.client); return err })
	if broke != "" {
		return nil, errors.New("the authentication " + broke)
	}
	return secret, err
}

// tell tells the application of a login. That it does not return is nobody's to know: there is no caller.
func (k *KEK) tell(err error) {
	if k.opts.OnLogin == nil {
		return
	}
	_, _ = apart.Call(func() error {
		k.opts.OnLogin(err)
		return nil
	})
}

// loginError is why a token that Vault calls invalid was not replaced. It says all that is to be said.
type loginError struct{ error }

func (e *loginError) Unwrap() error { return e.error }

// relogin replaces the token that Vault has just called invalid, unless somebody else did already. A login that was
// refused a moment ago is not tried again for each call: Vault may lock out who does that.
func (k *KEK) relogin(ctx context.Context, invalid string) error {
	if err := k.logins.take(ctx); err != nil {
		return err
	}
	defer k.logins.give()
	if k.client.Token() != invalid {
		return nil
	}
	if err := k.logins.refusal; err != nil && time.Now().Before(k.logins.again) {
		return &loginError{err}
	}
	if _, err := k.loginLocked(ctx); err != nil {
		return &loginError{err}
	}
	return nil
}

// renew keeps the login alive until ctx ends: it renews the token for as long as Vault lets it, then logs in again.
func (k *KEK) renew(ctx context.Context, secret *api.Secret) {
	defer close(k.done)
	for {
		k.watch(ctx, secret)
		if ctx.Err() != nil {
			return
		}
		if _, ok := k.auth.(tokenAuth); ok {
			return // there is no other token
		}
		for {
			next, err := k.login(ctx)
			if ctx.Err() != nil {
				return
			}
			k.tell(err)
			if err == nil {
				secret = next
				break
			}
			if k.logins.take(ctx) != nil {
				return
			}
			again := k.logins.again
			k.logins.give()
			if !pause(ctx, time.Until(again)) {
				return
			}
		}
	}
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch returns when the token of secret can be renewed no longer, or ctx ends.
func (k *KEK) watch(ctx context.Context, secret *api.Secret) {
	lifetime := time.Duration(secret.Auth.LeaseDuration) * time.Second
	if !secret.Auth.Renewable {
		if lifetime <= 0 {
			<-ctx.Done() // it never expires
			return
		}
		pause(ctx, lifetime*9/10)
		return
	}
	w, err := k.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret})
	if err != nil {
		pause(ctx, lifetime*9/10)
		return
	}
	go w.Start()
	defer w.Stop()
	for {
		select {
		case <-w.DoneCh():
			return
		case <-w.RenewCh():
		case <-ctx.Done():
			return
		}
	}
}
