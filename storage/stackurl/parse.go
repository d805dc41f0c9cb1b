package stackurl

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/internal/closest"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/stack"
)

// Scheme is that of a stack's URL.
const Scheme = "strongroom"

// kekParameters are those of a KEK, and keysParameters of a key store.
var (
	kekParameters  = []string{"kek.auth", "kek.auth_mount", "kek.ca_file", "kek.cert_file", "kek.key_file", "kek.namespace", "kek.passphrase_file", "kek.prefix", "kek.role", "kek.role_id_file", "kek.secret_id_file", "kek.shared_key", "kek.token_file"}
	keysParameters = []string{"keys.listen", "keys.table"}
)

// problems collects what is wrong with a URL. None of its texts has a value of the URL, nor a name that only the URL has: a password
// with a "&" in it makes a parameter of its own.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// parse puts into c where the URL says that things are, and returns the parameters of those that are to be opened first.
func parse(raw string, c *stack.Config) (parameters, error) {
	u, err := url.Parse(raw)
	if err != nil { // which repeats the URL
		return nil, errors.New("stackurl: the URL cannot be parsed; it is as in strongroom:///var/lib/clinic, and what is special in a value is percent-encoded")
	}
	if u.Scheme != Scheme {
		return nil, errors.New("stackurl: the URL begins with strongroom: or is none of a stack")
	}
	var wrong problems
	if u.User != nil {
		wrong.add("the URL has a user, which nothing here has")
	}
	if u.Fragment != "" || u.RawFragment != "" {
		wrong.add("the URL has a fragment; a # in a value is written %%23")
	}
	dir, ok := pathOf(u)
	switch {
	case !ok:
		wrong.add("the directory's path begins with the third slash, as in strongroom:///var/lib/clinic; a relative one is strongroom://./clinic")
	case dir != "" && c.Dir != "":
		wrong.add("the URL has a path, and Config.Dir is set; give one of them")
	case dir != "":
		c.Dir = dir
	}
	p := wrong.parameters(u.RawQuery, known(c))
	wrong.place(p, c)
	wrong.applicable(p)
	if c.KEK != nil && p["kek"] != "" {
		wrong.add("the URL has kek, and Config.KEK is set; give one of them")
	}
	if c.Store != nil && p["keys"] != "" {
		wrong.add("the URL has keys, and Config.Store is set; give one of them")
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("stackurl: %w", errors.Join(wrong...))
	}
	return p, nil
}

// pathOf is the file or directory of a URL, as gocloud.dev's file buckets have it: absolute, or relative to where the program runs where
// the host is ".".
func pathOf(u *url.URL) (string, bool) {
	switch {
	case u.Opaque != "" || u.Host != "" && u.Host != ".":
		return "", false
	case u.Path == "" || u.Path == "/":
		return "", u.Host == "" && u.Path == ""
	case u.Host == ".":
		return filepath.FromSlash(strings.TrimPrefix(u.Path, "/")), true
	}
	return filepath.FromSlash(u.Path), true
}

// known are all parameters that a URL may have.
func known(c *stack.Config) []string {
	names := slices.Concat([]string{"kek", "keys"}, kekParameters, keysParameters)
	for name := range c.Databases {
		names = append(names, "db."+name)
	}
	for name := range c.Buckets {
		names = append(names, "bucket."+name)
	}
	slices.Sort(names)
	return names
}

// parameters are the URL's, by their names.
type parameters map[string]string

// parameters reads a query. That of net/url takes what it is given, and repeats it in errors.
func (wrong *problems) parameters(query string, known []string) parameters {
	p := parameters{}
	if query == "" {
		return p
	}
	for i, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		switch {
		case err != nil || errValue != nil:
			wrong.add("parameter %d is not percent-encoded; a %% itself is written %%25", i+1)
		case !slices.Contains(known, name):
			meant := "."
			if like := closest.To(name, known); like != "" {
				meant = "; did you mean " + like + "?"
			}
			wrong.add("parameter %d is not known%s Known are %s. Where it belongs to the value before it, the & between them is written %%26", i+1, meant, strings.Join(known, ", "))
		case value == "":
			wrong.add("%s is empty; leave it out for its default", name)
		case p[name] != "":
			wrong.add("%s is given twice", name)
		default:
			p[name] = value
		}
	}
	return p
}

// place puts the URLs of databases and buckets into the configuration, in maps of its own.
func (wrong *problems) place(p parameters, c *stack.Config) {
	c.Databases, c.Buckets = maps.Clone(c.Databases), maps.Clone(c.Buckets)
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		d := c.Databases[name]
		if value := p["db."+name]; value != "" {
			if d.URL != "" {
				wrong.add("the URL has db.%s, and Config.Databases has a URL for it; give one of them", name)
			}
			wrong.secretFree("db."+name, value)
			d.URL = value
			c.Databases[name] = d
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Buckets)) {
		b := c.Buckets[name]
		if value := p["bucket."+name]; value != "" {
			if b.URL != "" {
				wrong.add("the URL has bucket.%s, and Config.Buckets has a URL for it; give one of them", name)
			}
			wrong.secretFree("bucket."+name, value)
			b.URL = value
		}
		var opts blobs.Options
		if b.Options != nil {
			opts = *b.Options
		}
		if opts.Label == "" {
			opts.Label = name
		}
		b.Options = &opts
		c.Buckets[name] = b
	}
	wrong.secretFree("kek", p["kek"])
	wrong.secretFree("keys", p["keys"])
}

// secret are names of parameters that hold secrets, and file those that say where one is.
var (
	secret = regexp.MustCompile(`(?i)passw|pwd|secret|token|credential|api_?key|access_?key|account_?key|signature|^sig$|^sas$`)
	file   = regexp.MustCompile(`(?i)(file|path)$`)
)

// secretFree notes what is secret in a value, or cannot be read, without repeating it.
func (wrong *problems) secretFree(name, value string) {
	if value == "" || strings.HasPrefix(value, "sqlite:") { // a path
		return
	}
	u, err := url.Parse(value)
	if err != nil {
		wrong.add("%s is no URL that can be read", name)
		return
	}
	if u.Scheme == "" || u.Opaque != "" { // such as pgx's keywords and values, of which one is a password
		wrong.add("%s is no URL of the form SCHEME://…", name)
		return
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		wrong.add("%s has parameters that cannot be read; each %% of its own is written %%25", name)
		return
	}
	_, password := u.User.Password()
	for key, values := range query {
		password = password || secret.MatchString(key) && !file.MatchString(key) || slices.ContainsFunc(values, hasPassword)
	}
	if password {
		wrong.add("%s has a password or another secret in it, and URLs are no place for one; give it in a file: see the package's documentation", name)
	}
}

// hasPassword tells whether a parameter's value is a URL, such as an endpoint's, with a password of its own.
func hasPassword(value string) bool {
	u, err := url.Parse(value)
	if err != nil {
		return strings.Contains(value, "@")
	}
	_, password := u.User.Password()
	return password
}

// applicable notes parameters that say something about nothing.
func (wrong *problems) applicable(p parameters) {
	of := func(name string, parts ...string) {
		for _, part := range parts {
			if p[part] != "" {
				wrong.add("%s is given, and %s", part, name)
			}
		}
	}
	scheme := func(name string) string { scheme, _, _ := strings.Cut(p[name], ":"); return scheme }
	vault := slices.DeleteFunc(slices.Clone(kekParameters), func(name string) bool { return name == "kek.passphrase_file" })
	switch scheme("kek") {
	case "":
		of("kek is not", kekParameters...)
	case "file":
		of("is not for a file", vault...)
	case "vault", "vault-http":
		of("is not for Vault", "kek.passphrase_file")
		if p["kek.prefix"] != "" && p["kek.shared_key"] != "" {
			wrong.add("kek.prefix is of keys that each tenant has for itself, and kek.shared_key is one for all; give one of them")
		}
		wrong.login(p)
	default:
		wrong.add("kek has a scheme that is not known; use vault:, vault-http: or file:, or open it in Go and set Config.KEK")
	}
	switch scheme("keys") {
	case "":
		of("keys is not", keysParameters...)
	case "file":
		of("is not for files", keysParameters...)
	case "postgres", "postgresql":
		if listen := p["keys.listen"]; listen != "" && listen != "yes" && listen != "no" {
			wrong.add("keys.listen is neither yes nor no")
		}
	default:
		wrong.add("keys has a scheme that is not known; use postgres: or file:, or open it in Go and set Config.Store")
	}
}

// logins are the ways to log in to Vault, with what each needs and what else it may have.
var logins = map[string]struct{ needs, may []string }{
	"approle":    {needs: []string{"kek.role_id_file", "kek.secret_id_file"}},
	"kubernetes": {needs: []string{"kek.role"}, may: []string{"kek.token_file"}},
	"jwt":        {needs: []string{"kek.role", "kek.token_file"}},
	"token":      {needs: []string{"kek.token_file"}},
}

func (wrong *problems) login(p parameters) {
	l, ok := logins[p["kek.auth"]]
	if !ok {
		wrong.add("kek.auth is missing or not known; use %s", strings.Join(slices.Sorted(maps.Keys(logins)), ", "))
		return
	}
	for _, name := range []string{"kek.role", "kek.role_id_file", "kek.secret_id_file", "kek.token_file"} {
		switch needed := slices.Contains(l.needs, name); {
		case needed && p[name] == "":
			wrong.add("%s is missing, which kek.auth=%s needs", name, p["kek.auth"])
		case !needed && p[name] != "" && !slices.Contains(l.may, name):
			wrong.add("%s is given, and is not for kek.auth=%s", name, p["kek.auth"])
		}
	}
	if p["kek.auth"] == "token" && p["kek.auth_mount"] != "" {
		wrong.add("kek.auth_mount is given, and is not for kek.auth=token")
	}
}
