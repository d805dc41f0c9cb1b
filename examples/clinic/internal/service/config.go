package service

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
)

// config is what the flags say. Each has an environment variable too, where secrets belong: a process's flags are there for
// every user of the machine to see.
type config struct {
	mode string // "serve", "issue", "setup", "load" or "check"

	listen  string
	url     string // where browsers reach the service
	dir     string
	secrets string
	trail   string

	postgres, keysDB, trailDB, owner string
	vault, s3, issuer                string
	plaintext, demo                  bool

	grace time.Duration

	load, journal string
	workers       int
	duration      time.Duration
	perSecond     int
	requests      int64
}

func parse(args []string, errs io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("clinic", flag.ContinueOnError)
	f.SetOutput(errs)
	text := func(to *string, name, variable, value, usage string) {
		f.StringVar(to, name, cmp.Or(os.Getenv(variable), value), usage+" ($"+variable+")")
	}
	text(&c.listen, "listen", "CLINIC_LISTEN", "127.0.0.1:8080", "address to serve at")
	text(&c.url, "url", "CLINIC_URL", "", "where browsers reach it; default http:// and the address")
	text(&c.dir, "dir", "CLINIC_DIR", "", "directory for all that is kept here; default a temporary one, removed at the end")
	text(&c.secrets, "secrets", "CLINIC_SECRETS", "", "directory of the secrets that all instances share; default secrets in -dir")
	text(&c.trail, "trail", "CLINIC_TRAIL", "", "directory of the log to show; default the one that is written here")
	text(&c.postgres, "postgres", "CLINIC_POSTGRES", "", "the clinics' database, as the application's role; default SQLite in -dir")
	text(&c.keysDB, "keys", "CLINIC_KEYS", "", "PostgreSQL for the wrapped keys; default files in -dir")
	text(&c.trailDB, "trail-db", "CLINIC_TRAIL_DB", "", "PostgreSQL to record the trail into, for auditctl seal to take from; default a log in -dir")
	text(&c.owner, "owner", "CLINIC_OWNER", "", "PostgreSQL as the tables' owner, for -setup")
	text(&c.vault, "vault", "CLINIC_VAULT", "", "address of Vault, with the AppRole of -setup in -secrets; default key-encryption keys in a file in -dir")
	text(&c.s3, "s3", "CLINIC_S3", "", "bucket's URL, as in s3://scans?region=eu-central-1; credentials as the AWS SDK finds them; default files in -dir")
	text(&c.issuer, "issuer", "CLINIC_ISSUER", "", "URL of another process's issuer (-issue); default one in this process")
	f.BoolVar(&c.plaintext, "insecure-plaintext", os.Getenv("CLINIC_INSECURE_PLAINTEXT") != "", "servers may be reached without TLS, as in a network of containers on one machine ($CLINIC_INSECURE_PLAINTEXT)")
	f.DurationVar(&c.grace, "grace", 20*time.Second, "how long requests have to finish when the service ends")

	f.BoolVar(&c.demo, "demo", os.Getenv("CLINIC_DEMO") != "", "with -setup: the invented patients too ($CLINIC_DEMO)")
	setup := f.Bool("setup", false, "make tables, keys, secrets and Vault's policies, and end")
	issue := f.Bool("issue", false, "run the issuer alone")
	text(&c.load, "load", "", "", "drive services at these addresses, separated by commas, or `self` for one in this process")
	check := f.Bool("check", false, "account for a journal of -load, and end")
	f.StringVar(&c.journal, "journal", "journal.jsonl", "file for -load and -check")
	f.IntVar(&c.workers, "workers", 8, "clients of -load at the same time")
	f.IntVar(&c.perSecond, "rate", 200, "requests of -load in a second, at most")
	f.DurationVar(&c.duration, "for", 10*time.Second, "how long -load goes on, at most")
	f.Int64Var(&c.requests, "requests", 0, "requests of -load that are answered before it ends; default as many as there are")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("give flags alone; got %d arguments", f.NArg())
	}
	c.mode = "serve"
	for mode, on := range map[string]bool{"setup": *setup, "issue": *issue, "load": c.load != "", "check": *check} {
		if on && c.mode != "serve" {
			return nil, fmt.Errorf("-%s and -%s are two things; give one", c.mode, mode)
		}
		if on {
			c.mode = mode
		}
	}
	if c.url != "" {
		if u, err := url.Parse(c.url); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("-url is no address as in https://clinic.example.com")
		}
	}
	return c, nil
}
