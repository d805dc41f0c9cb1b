// Package redact takes credentials, and places that are nobody's business, out of the words of errors that others wrote:
// drivers of databases and buckets, and openers of URLs, repeat what they were given.
package redact

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Withheld stands where something was taken out.
const Withheld = "[withheld]"

var (
	// urls are everything that looks like one: the part up to the authority, a user name and password, the place, and the
	// query or fragment.
	urls = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)([^\s/?#"'<>\x60]*@)?([^\s?#"'<>\x60]*)([?#][^\s"'<>\x60]*)?`)
	// settings are secrets in connection strings and headers, as key and value.
	settings = regexp.MustCompile(`(?i)\b((?:[a-z0-9_-]*(?:password|passwd|pwd|passfile|secret|token|signature|credential|apikey|api_key|accountkey|access_?key|sslkey)[a-z0-9_-]*|sig|authorization)\s*[=:]\s*)("[^"]*"|'[^']*'|bearer\s+\S+|basic\s+\S+|[^\s;,&"')]+)`)
)

// Text returns s without the credentials and queries of URLs, secrets of connection strings, and the values given.
func Text(s string, secrets ...string) string {
	s = without(s, secrets)
	s = urls.ReplaceAllStringFunc(s, func(u string) string {
		part := urls.FindStringSubmatch(u)
		if part[2] != "" {
			part[2] = Withheld + "@"
		}
		if part[4] != "" {
			part[4] = part[4][:1] + Withheld
		}
		return part[1] + part[2] + part[3] + part[4]
	})
	return settings.ReplaceAllString(s, "${1}"+Withheld)
}

// shortest is the length of the shortest value that is taken out, in bytes: shorter ones would leave no text.
const shortest = 4

// without takes values out, however they were quoted or escaped, the longest first; where a piece of one is left, the
// whole text goes.
func without(s string, secrets []string) string {
	forms := map[string]bool{}
	for _, secret := range secrets {
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1]} {
			if len(form) >= shortest {
				forms[form] = true
			}
		}
	}
	ordered := make([]string, 0, len(forms))
	for form := range forms {
		ordered = append(ordered, form)
	}
	slices.SortFunc(ordered, func(a, b string) int { return len(b) - len(a) })
	for _, form := range ordered {
		s = strings.ReplaceAll(s, form, Withheld)
	}
	for _, form := range ordered {
		for i := 0; i+2*shortest <= len(form); i++ {
			if strings.Contains(s, form[i:i+2*shortest]) {
				return Withheld
			}
		}
	}
	return s
}

// Paths returns text without the file paths that err, whose text it is, names.
func Paths(text string, err error) string {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) {
		text = withoutPath(text, path.Path)
	}
	if errors.As(err, &link) {
		text = withoutPath(withoutPath(text, link.Old), link.New)
	}
	return text
}

func withoutPath(text, path string) string {
	if len(path) < shortest {
		return text
	}
	return strings.ReplaceAll(text, path, Withheld)
}

// Error returns err with its own text redacted as Text does. What it is, [errors.Is] and [errors.As] still find.
func Error(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	return &redacted{err, Text(err.Error(), secrets...)}
}

type redacted struct {
	err  error
	text string
}

func (e *redacted) Error() string { return e.text }

func (e *redacted) Unwrap() error { return e.err }

// Path returns err without the file paths in its own text. What it is, [errors.Is] and [errors.As] still find.
func Path(err error) error { return &redacted{err, Paths(err.Error(), err)} }

// Opaque returns an error with the redacted text of err, of which only [errors.Is] finds what it is: for an error that is
// about nothing but what holds the secrets.
func Opaque(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	return &opaque{err, Text(err.Error(), secrets...)}
}

type opaque struct {
	err  error
	text string
}

func (e *opaque) Error() string { return e.text }

// Is makes errors.Is look through.
func (e *opaque) Is(target error) bool { return errors.Is(e.err, target) }

// Secrets returns what of a URL can hold a credential: its user, the values of its query, and the fragment.
func Secrets(u *url.URL) []string {
	secrets := []string{u.RawQuery, u.Fragment, u.RawFragment}
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		_, value, _ := strings.Cut(pair, "=")
		secrets = append(secrets, value)
		if plain, err := url.QueryUnescape(value); err == nil {
			secrets = append(secrets, plain)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		secrets = append(secrets, u.User.String(), u.User.Username(), password)
	}
	return secrets
}
