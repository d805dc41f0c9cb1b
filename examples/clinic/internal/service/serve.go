package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/demo"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/web"
)

// vaultGrace is how long Vault may be away before the instance says that it is not ready: well below the 15 minutes that tenants
// in use go on without it (keys.Options.ReopenAfter), and longer than an election takes.
const vaultGrace = time.Minute

// serve opens everything, serves until ctx ends, lets requests finish, and closes everything, the trail last.
func serve(ctx context.Context, c *config, out io.Writer, r *reports) (err error) {
	if c.secrets == "" {
		if err := makeSecrets(c); err != nil {
			return err
		}
	}
	o, err := open(ctx, c, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }() // buckets, databases, keys, and then the trail
	defer r.end()                                        // before: what is closed is not measured any more
	if c.keysDB == "" {                                  // those of servers, and their tenants, are -setup's to make
		if err := provision(ctx, o); err != nil {
			return err
		}
	}
	if c.postgres == "" && c.mode == "serve" {
		if err := o.seed(ctx); err != nil {
			return err
		}
	}

	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	if c.url == "" {
		c.url = "http://" + listener.Addr().String()
	}
	handler, tail, err := c.handler(o, r)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	// What only waits ends when the service begins to end; what works has until the grace is over.
	waiting, endWaiting := context.WithCancel(ctx)
	defer endWaiting()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		if tail != nil {
			tail.Follow(waiting, c.trailDir(), r.log)
		}
	}()
	err = serveHTTP(ctx, listener, handler, c.grace, func() {
		fmt.Fprintf(out, "clinic: serving at %s\n", c.url)
		r.log.Info("serving", slog.String("url", c.url))
	})
	endWaiting()
	<-followed
	r.log.Info("ended")
	return err
}

// handler puts the service together.
func (c *config) handler(o *opened, r *reports) (http.Handler, *web.Tail, error) {
	signer, err := openSigner(c)
	if err != nil {
		return nil, nil, err
	}
	s := &web.Server{Records: records.Store{DB: o.DB[database]}, Scans: o.Bucket[bucket], Signer: signer, Health: web.NewHealth(o.checks()...),
		Log: r.log, Secure: strings.HasPrefix(c.url, "https:")}
	if r.library.TracerProvider != nil {
		s.Tracer = r.library.TracerProvider.Tracer("github.com/strongroom-go/strongroom/examples/clinic")
	}
	if c.issuer == "" {
		issuer, err := session.NewIssuer(c.url+"/issuer", demo.People)
		if err != nil {
			return nil, nil, err
		}
		s.Issuer, s.SignIn = issuer.Handler(), session.Local(issuer)
		s.Sessions = &session.Verifier{Issuer: c.url + "/issuer", Keys: session.Fixed(issuer.Keys())}
	} else {
		client, err := session.Client(c.issuer, c.plaintext)
		if err != nil {
			return nil, nil, err
		}
		s.SignIn = session.At(c.issuer, client)
		s.Sessions = &session.Verifier{Issuer: c.issuer, Keys: session.Remote(c.issuer+"/.well-known/jwks.json", client)}
	}
	if c.trailDir() != "" {
		s.Trail = web.NewTail()
	}
	h, err := s.Handler()
	return h, s.Trail, err
}

// checks are what readiness asks for.
func (o *opened) checks() []web.Check {
	checks := []web.Check{
		{Name: "database", Ask: o.DB[database].PingContext},
		{Name: "trail", Ask: func(context.Context) error {
			// A log whose disk failed, and a stream whose database is away, record nothing: then nothing may be read either.
			return o.Audit.(interface{ Err() error }).Err()
		}},
	}
	if o.vault != nil {
		checks = append(checks, web.Check{Name: "vault", Grace: vaultGrace, Ask: func(ctx context.Context) error {
			_, err := o.vault.Examine(ctx)
			return err
		}})
	}
	return checks
}

// serveHTTP serves until ctx ends, and then lets requests finish, for grace at most.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration, serving func()) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx)) // requests outlive the signal
	defer endRequests()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       2 * time.Minute, // of a scan, on a slow line
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	serving()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(requests, grace)
	defer cancel()
	err := server.Shutdown(within)
	if err != nil { // those that are still there are cut off; what they had begun is rolled back
		endRequests()
		err = errors.Join(err, server.Close())
	}
	<-ended
	return err
}

// issue runs the issuer alone, for several instances.
func issue(ctx context.Context, c *config, out io.Writer, log *slog.Logger) error {
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	if c.url == "" {
		c.url = "http://" + listener.Addr().String()
	}
	issuer, err := session.NewIssuer(c.url, demo.People)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return serveHTTP(ctx, listener, issuer.Handler(), c.grace, func() {
		fmt.Fprintf(out, "clinic: issuing at %s\n", c.url)
		log.Info("issuing", slog.String("url", c.url))
	})
}

// provision makes the clinics' keys. It does nothing where they exist.
func provision(ctx context.Context, o *opened) error {
	for _, clinic := range demo.Clinics {
		if err := o.Keys.Provision(ctx, clinic.ID); err != nil {
			return err
		}
	}
	return nil
}

// seed gives the clinics their invented patients.
func (o *opened) seed(ctx context.Context) error {
	return demo.Seed(ctx, records.Store{DB: o.DB[database]}, o.Bucket[bucket])
}
