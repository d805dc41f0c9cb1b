package main

import (
	"bytes"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/pgtls"
	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// secret says where a secret is: in a file, or in a variable of the environment.
type secret struct {
	File string `json:"file"`
	Env  string `json:"env"`
}

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 64 << 10

func (p *problems) secret(field string, s *secret, required bool) {
	if s == nil {
		p.add(required, "%s is missing; name a file or a variable of the environment that has it", field)
		return
	}
	p.one(field, "file and env", s.File != "", s.Env != "")
}

// read returns the secret, without white space around it. The error has nothing of it.
func (t *tool) read(c *config, field string, s *secret) (string, error) {
	if s == nil {
		return "", nil
	}
	value := []byte(os.Getenv(s.Env))
	where := "the variable " + s.Env
	if s.File != "" {
		where = c.in(s.File)
		var err error
		if value, err = plainfile.Read(where, maxSecret); err != nil {
			return "", configf("%s: %w", field, err)
		}
	}
	text := string(bytes.TrimSpace(value))
	if text == "" {
		return "", configf("%s: %s is empty", field, where)
	}
	t.hide(text)
	return text, nil
}

// hide keeps a secret out of everything that is printed.
func (t *tool) hide(text string) {
	t.printing.Lock()
	defer t.printing.Unlock()
	t.secrets = append(t.secrets, text, url.QueryEscape(text), url.PathEscape(text))
}

// url checks the URL of a PostgreSQL database, which holds no password, and where that is.
func (p *problems) url(field, text string, password *secret) {
	p.secret(field+".password", password, false)
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		p.add(true, "%s.url is not of the form postgres://user@host:5432/database?sslmode=verify-full", field)
		return
	}
	_, has := u.User.Password()
	for name := range u.Query() {
		has = has || strings.Contains(strings.ToLower(name), "password")
	}
	p.add(has, "%s.url has a password in it; put that into a file, and name it in %s.password", field, field)
}

// postgresURL returns a URL with its password.
func (t *tool) postgresURL(c *config, field, text string, password *secret) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", configf("%s.url cannot be parsed", field)
	}
	if password == nil {
		return text, nil
	}
	value, err := t.read(c, field+".password", password)
	if err != nil {
		return "", err
	}
	u.User = url.UserPassword(u.User.Username(), value)
	return u.String(), nil
}

// requireTLS refuses a connection to another machine that could be without TLS.
func requireTLS(field string, config *pgx.ConnConfig) error {
	if host := pgtls.Plain(config); host != "" {
		return configf("%s: the connection to %s could be without TLS; add sslmode=verify-full to the url, or set insecureAllowPlaintext", field, host)
	}
	return nil
}
