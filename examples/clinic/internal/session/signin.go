package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Local is an issuer in this process, to be asked for tokens.
func Local(i *Issuer) Asker { return Asker{local: i} }

// At is an issuer at a URL.
func At(url string, client *http.Client) Asker { return Asker{url: url, client: client} }

// Asker asks an issuer for tokens.
type Asker struct {
	local  *Issuer
	url    string
	client *http.Client
}

// Issue returns a token for somebody of a clinic.
func (a Asker) Issue(ctx context.Context, clinic, user string) (string, error) {
	if a.local != nil {
		return a.local.Issue(clinic, user)
	}
	return a.ask(ctx, url.Values{"clinic": {clinic}, "user": {user}})
}

// IssueReviewer returns a token for a reviewer of the trail.
func (a Asker) IssueReviewer(ctx context.Context) (string, error) {
	if a.local != nil {
		return a.local.IssueReviewer()
	}
	return a.ask(ctx, url.Values{"role": {"reviewer"}})
}

func (a Asker) ask(ctx context.Context, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := a.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("session: the issuer: %w", err)
	}
	defer answer.Body.Close()
	token, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("session: the issuer answered %d", answer.StatusCode)
	}
	return string(token), err
}

// Client returns a client for an issuer. Its keys decide whose requests are whose, so they come by https or from this machine,
// unless plaintext is allowed.
func Client(issuer string, plaintext bool) (*http.Client, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return nil, errors.New("session: the issuer is no URL")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && !plaintext && !(ip != nil && ip.IsLoopback()) && u.Hostname() != "localhost" {
		return nil, errors.New("session: the issuer is reached without TLS; use https")
	}
	return &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
