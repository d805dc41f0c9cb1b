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

	mu       sync.Mutex // held while the issuer is asked, so that it is asked once
	set      jose.JSONWebKeySet
	got      time.Time
	asked    time.Time
	askedErr error
}

func (r *remote) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := one(r.set, id)
	if key != nil && time.Since(r.got) < forgetAfter {
		return key, nil
	}
	if time.Since(r.asked) > askAgain {
		// Not with the request's context: who gives up must not make all others wait for askAgain.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		r.asked, r.askedErr = time.Now(), r.ask(ctx)
		if r.askedErr != nil {
			r.asked = time.Time{} // nothing was learned
		}
	}
	if key = one(r.set, id); key != nil && time.Since(r.got) < forgetAfter {
		return key, nil
	}
	return nil, r.askedErr
}

func (r *remote) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %d", answer.StatusCode)
	}
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&set); err != nil {
		return errors.New("it answered something else")
	}
	r.set, r.got = set, time.Now()
	return nil
}
