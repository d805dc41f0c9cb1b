package vaultkek

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// Examination is what Vault says of a provider's login. It holds no secret.
type Examination struct {
	// TTL is how long the token still lives unless it is renewed; 0 for one that never expires. Renewable tells that it can
	// be, and LoginAgain that the login can be repeated when it cannot.
	TTL                   time.Duration
	Renewable, LoginAgain bool
	// Policies are the token's.
	Policies []string
	// Skew is how far Vault's clock is ahead of this machine's, give or take SkewWithin: answers tell whole seconds, and take
	// a while. SkewWithin is 0 where the answer told no time.
	Skew, SkewWithin time.Duration
	// Unknown tells that the token may not ask what it may do (sys/capabilities-self), so that Lacks and Exceeds say nothing.
	Unknown bool
	// Lacks are the rules that the token's policies lack of [Policy], or of [SharedPolicy], and Exceeds those that they should not have: with them
	// keys could leave Vault, or be made, known or used otherwise than by this package. Parameters that policies limit, as
	// Policy does, are not among what Vault tells.
	Lacks, Exceeds []string
}

// examined is the name of the key that is asked about. Its last part is no tenant's segment, and nothing is done with it.
const examined = "examined"

// wanted are the capabilities of [Policy].
func (k *KEK) wanted() map[string][]string {
	key := func(what, more string) string {
		return k.opts.Mount + "/" + what + "/" + k.opts.Prefix + examined + more
	}
	return map[string][]string{
		key("keys", ""): {"create", "read", "update", "delete"}, key("keys", "/config"): {"update"}, key("keys", "/rotate"): {"update"},
		key("encrypt", ""): {"update"}, key("decrypt", ""): {"update"}, key("rewrap", ""): {"update"},
		"auth/token/lookup-self": {"read"}, "auth/token/renew-self": {"update"},
	}
}

// unwanted are the paths that nobody should have anything on who uses keys.
func (k *KEK) unwanted() []string {
	key, m := k.opts.Prefix+examined, k.opts.Mount
	return []string{
		m + "/export/encryption-key/" + key, m + "/backup/" + key, m + "/restore/" + key, m + "/byok-export/" + key + "/" + key,
		m + "/datakey/plaintext/" + key, m + "/keys/other-" + examined, m + "/decrypt/other-" + examined, m + "/config/keys", m + "/cache-config",
		"sys/mounts/" + m, "sys/policies/acl/" + examined, "sys/auth/" + examined, "sys/raw/" + examined, "auth/token/create",
	}
}

// Examine asks Vault about this provider's login: how long it lasts, and whether it may do what [Policy] says and no more.
// Nothing is opened or changed. The error is as of the other calls.
func (k *KEK) Examine(ctx context.Context) (*Examination, error) {
	return k.examine(ctx, &demands{k.wanted(), k.unwanted(), map[string][]string{
		// With create on encrypt, encrypting makes keys that are not there.
		k.opts.Mount + "/encrypt/" + k.opts.Prefix + examined: {"create"}}})
}

// demands are what a login is held against.
type demands struct {
	wanted   map[string][]string
	unwanted []string
	never    map[string][]string // on paths where others are wanted
}

func (k *KEK) examine(ctx context.Context, d *demands) (*Examination, error) {
	var e Examination
	if err := k.lookupSelf(ctx, &e); err != nil {
		return nil, err
	}
	_, isToken := k.auth.(tokenAuth)
	e.LoginAgain = !isToken
	paths := slices.Clone(d.unwanted)
	for path := range d.wanted {
		paths = append(paths, path)
	}
	var has map[string][]string
	err := k.write(ctx, "sys/capabilities-self", map[string]any{"paths": paths}, &has)
	var refused *api.ResponseError
	switch {
	case errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden && !invalidToken(refused):
		e.Unknown = true
		return &e, nil
	case err != nil:
		return nil, fmt.Errorf("vaultkek: ask what the token may do: %w", k.explain(ctx, err, "sys/capabilities-self", "update"))
	}
	k.judge(&e, has, d)
	return &e, nil
}

// judge holds capabilities against those that are wanted.
func (k *KEK) judge(e *Examination, has map[string][]string, d *demands) {
	for path, wanted := range d.wanted {
		var lacks []string
		for _, c := range wanted {
			if !slices.Contains(has[path], c) && !slices.Contains(has[path], "root") {
				lacks = append(lacks, c)
			}
		}
		if len(lacks) > 0 {
			e.Lacks = append(e.Lacks, rule(strings.ReplaceAll(path, k.opts.Prefix+examined, k.opts.Prefix+"*"), lacks))
		}
	}
	excess := func(path string, more []string) {
		more = slices.DeleteFunc(slices.Clone(more), func(c string) bool { return c == "deny" })
		if len(more) > 0 {
			e.Exceeds = append(e.Exceeds, rule(strings.ReplaceAll(path, k.opts.Prefix+examined, k.opts.Prefix+"*"), more))
		}
	}
	for _, path := range d.unwanted {
		excess(path, has[path])
	}
	for path, never := range d.never {
		excess(path, slices.DeleteFunc(slices.Clone(has[path]), func(c string) bool { return !slices.Contains(never, c) }))
	}
	slices.Sort(e.Lacks)
	slices.Sort(e.Exceeds)
}

// lookupSelf reads what Vault says of the token, and the time there.
func (k *KEK) lookupSelf(ctx context.Context, e *Examination) error {
	var self struct {
		TTL       int64    `json:"ttl"` // seconds
		Renewable bool     `json:"renewable"`
		Policies  []string `json:"policies"`
		Identity  []string `json:"identity_policies"`
	}
	const path = "auth/token/lookup-self"
	err := k.call(ctx, func(ctx context.Context) error {
		asked := time.Now()
		response, err := k.client.Logical().ReadRawWithContext(ctx, path)
		if response != nil {
			e.Skew, e.SkewWithin = skew(asked, time.Now(), response.Header.Get("Date"))
		}
		return finish(response, err, &self)
	})
	if err != nil {
		return fmt.Errorf("vaultkek: look the token up: %w", k.explain(ctx, err, path, "read"))
	}
	e.TTL, e.Renewable = time.Duration(self.TTL)*time.Second, self.Renewable
	e.Policies = append(self.Policies, self.Identity...)
	return nil
}

// skew is how far the clock that wrote a Date header is ahead, and within which bounds.
func skew(asked, answered time.Time, date string) (ahead, within time.Duration) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return 0, 0
	}
	// The header tells a second that had begun, at some time between the question and the answer.
	middle := asked.Add(answered.Sub(asked) / 2)
	return theirs.Add(time.Second / 2).Sub(middle), answered.Sub(asked)/2 + time.Second/2
}
