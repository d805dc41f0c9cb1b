package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// askAgain is how soon the issuer is asked for its keys once more: tokens with made-up key ids must not become requests to it.
	askAgain = 10 * time.Second
	// forgetAfter is when keys that the issuer may have withdrawn are asked for again.
	forgetAfter = 5 * time.Minute
)

// Remote is the source of the keys at a URL, such as "https://login.example.com/.well-known/jwks.json".
func Remote(url string, client *http.Client) KeySource {
	r := &remote{url: url, client: client}
	return r.key
}

type remote struct {
	url    string
	client *http.Client

	mu     sync.Mutex // never held while the issuer is asked
	set    jose.JSONWebKeySet
	got    time.Time
	asked  time.Time // when it last answered
	asking *asking   // nil while it is not asked
}

// asking is a request to the issuer, for all who wait for its answer.
type asking struct {
	done chan struct{}
	err  error
}

// key returns a key that is known at once, also while the issuer is asked for another: anybody can send a token with a made-up id.
func (r *remote) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	key, a := r.known(ctx, id)
	if a == nil {
		return key, nil
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh(id), a.err
}

// known returns the key, or the request to wait for, which is begun if there is none; neither where the issuer has just been asked.
func (r *remote) known(ctx context.Context, id string) (*jose.JSONWebKey, *asking) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.fresh(id); key != nil {
		return key, nil
	}
	if r.asking != nil || time.Since(r.asked) <= askAgain {
		return nil, r.asking
	}
	r.asking = &asking{done: make(chan struct{})}
	// Not with the request's context: who gives up must not make all others ask anew.
	go r.ask(context.WithoutCancel(ctx), r.asking)
	return nil, r.asking
}

// fresh returns a key that the issuer had lately, nil for none.
func (r *remote) fresh(id string) *jose.JSONWebKey {
	if time.Since(r.got) >= forgetAfter {
		return nil
	}
	return one(r.set, id)
}

// ask asks the issuer. One that did not answer is asked by the next request: nothing was learned.
func (r *remote) ask(ctx context.Context, a *asking) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now := time.Now()
	set, err := r.fetch(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.err = err; err == nil {
		r.set, r.got, r.asked = set, now, now
	}
	r.asking = nil
	close(a.done)
}

func (r *remote) fetch(ctx context.Context) (set jose.JSONWebKeySet, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return set, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return set, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return set, fmt.Errorf("it answered %d", answer.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&set); err != nil {
		return set, errors.New("it answered something else")
	}
	return set, nil
}
