package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/strongroom-go/strongroom/audit/sink"
)

const shipHelp = `usage: auditctl ship -to RECEIVER -cursor FILE [flags] DIR

Delivers the events of the log in DIR to a receiver as they are sealed, until interrupted. It needs no lock: the service
may have the log open. FILE says how far the receiver is; each receiver has one of its own, outside of DIR. What was on its way when
this command ended is delivered again, with the same uid.

Receivers:
  stdout    the events' exact lines (OCSF) on standard output
  slog      records of log/slog as JSON on standard output
  webhook   CloudEvents over HTTP, signed as Standard Webhooks says; needs -url and -secret-file
  otlp      OpenTelemetry logs over HTTP; needs -url
  syslog    RFC 5424 over TLS; needs -address
  s3        objects of exact lines in a bucket with Object Lock; needs -bucket, -region, -credentials-file and -keep. Each delivery is an object:
            use -gather 1m and -batch 5000
  nats      messages in a stream of NATS JetStream; needs -servers and -stream

Examples:
  auditctl ship -to stdout -cursor stdout.cursor -once /var/lib/app/audit
  auditctl ship -to webhook -url https://siem.example.com/in -secret-file whsec -cursor siem.cursor /var/lib/app/audit
  auditctl ship -to otlp -url https://collector.example.com:4318/v1/logs -header-file token -cursor otlp.cursor /var/lib/app/audit
  auditctl ship -to syslog -address logs.example.com:6514 -ca ca.pem -cursor syslog.cursor /var/lib/app/audit
  auditctl ship -to s3 -bucket trail -region eu-central-1 -credentials-file aws -keep 400d -gather 1m -batch 5000 -cursor s3.cursor /var/lib/app/audit
  auditctl ship -to nats -servers tls://nats.example.com -creds siem.creds -stream SIEM -cursor nats.cursor /var/lib/app/audit

Flags:
`

// ship delivers a log's events to one receiver until ctx ends.
func ship(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	flags := flag.NewFlagSet("ship", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), shipHelp)
		flags.PrintDefaults()
	}
	to := receiverFlags(flags)
	cursor := flags.String("cursor", "", "the file that says how far the receiver is; made where it is missing")
	opts := &sink.Options{}
	flags.Func("key", "a trusted verifier key of the log, name+hash+key (repeatable); without one, those in log.json are used", func(s string) error {
		opts.Verifiers = append(opts.Verifiers, s)
		return nil
	})
	flags.IntVar(&opts.Batch, "batch", 500, "deliver at most so many events at once")
	flags.DurationVar(&opts.Gather, "gather", 0, "let events gather for so long, where each delivery costs")
	flags.DurationVar(&opts.Timeout, "timeout", 30*time.Second, "give a delivery up after so long, and try again")
	once := flags.Bool("once", false, "end when everything that is sealed is delivered, or at the first failure")
	dir, err := parse(flags, "directory", args, errs)
	if err != nil {
		return err
	}
	if *cursor == "" {
		return errors.New("auditctl ship: -cursor is missing; give a file outside of the log's directory")
	}
	s, err := to.open(ctx, flags, out)
	if err != nil {
		return err
	}
	status := &shipStatus{out: errs, name: s.String()}
	opts.Progress = status.tell
	shipper, err := sink.Open(dir, *cursor, s, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shipper.Close()) }()
	if *once {
		err = shipAll(ctx, shipper, status)
	} else {
		err = shipper.Run(ctx)
	}
	status.end(shipper.Lag())
	return err
}

// shipAll delivers what is sealed.
func shipAll(ctx context.Context, s *sink.Shipper, status *shipStatus) error {
	for {
		n, err := s.Round(ctx)
		if err != nil || n == 0 {
			return err
		}
		status.tell(s.Lag())
	}
}

// shipStatus says on standard error how far the receiver is: on a terminal in one line that is kept up to date, elsewhere where a delivery
// failed, where one has succeeded since, and at the end.
type shipStatus struct {
	out     io.Writer
	name    string
	failing bool
	line    bool // a line stands that was not ended
}

func (s *shipStatus) tell(lag sink.Lag, err error) {
	switch {
	case err != nil:
		s.print("%v", err)
		s.failing = true
	case s.failing:
		s.print("%s takes events again; %s", s.name, behind(lag))
		s.failing = false
	}
	if isTerminal(s.out) {
		fmt.Fprintf(s.out, "\r\x1b[K%s: %s", s.name, behind(lag))
		s.line = true
	}
}

// print prints a line in front of the one that is kept up to date.
func (s *shipStatus) print(format string, args ...any) {
	if s.line {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	s.line = false
	fmt.Fprintf(s.out, "auditctl ship: "+format+"\n", args...)
}

func (s *shipStatus) end(lag sink.Lag, err error) {
	if err == nil {
		s.print("%s: %s", s.name, behind(lag))
	}
}

// behind says how far a receiver is.
func behind(lag sink.Lag) string {
	text := fmt.Sprintf("%d events delivered, %d behind", lag.Delivered, lag.Behind)
	if !lag.Oldest.IsZero() {
		text += ", the oldest since " + lag.Oldest.Format(time.RFC3339)
	}
	return text
}
