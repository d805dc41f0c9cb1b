package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/strongroom-go/strongroom/audit/sink"
	"github.com/strongroom-go/strongroom/audit/sink/natssink"
	"github.com/strongroom-go/strongroom/audit/sink/s3lock"
)

// bucketFlags are those of a receiver in S3, and streamFlags of one in NATS.
type bucketFlags struct {
	server      s3lock.Server
	opts        s3lock.Options
	name        string
	credentials string
}

type streamFlags struct {
	servers, creds string
	opts           natssink.Options
}

func (b *bucketFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&b.name, "bucket", "", "s3: the bucket, which must have been made with Object Lock")
	flags.StringVar(&b.server.Region, "region", "", "s3: the bucket's region")
	flags.StringVar(&b.server.Endpoint, "endpoint", "", "s3: the server's URL; default: that of AWS in the region")
	flags.BoolVar(&b.server.PathStyle, "path-style", false, "s3: the bucket's name stands in the path, as most servers but AWS want it")
	flags.StringVar(&b.credentials, "credentials-file", "", "s3: a file with one profile as in AWS's shared credentials: lines aws_access_key_id = …, aws_secret_access_key = …, and perhaps aws_session_token = …")
	flags.Func("keep", `s3: how long an object stays locked, from when it is written, as "400d" or "36h"`, func(s string) (err error) {
		b.opts.Retain, err = age(s)
		return err
	})
	flags.BoolVar(&b.opts.Governance, "governance", false, "s3: lock in governance mode, in which a user with s3:BypassGovernanceRetention may delete; default: compliance, in which nobody may")
	flags.StringVar(&b.opts.Prefix, "prefix", "audit/", "s3: what the objects' names begin with")
}

func (b *bucketFlags) open(ctx context.Context, config *tls.Config) (sink.Sink, error) {
	if b.name == "" || b.server.Region == "" || b.credentials == "" || b.opts.Retain == 0 {
		return nil, errors.New("auditctl ship: -to s3 needs -bucket, -region, -credentials-file and -keep")
	}
	data, err := secretFile(b.credentials)
	if err != nil {
		return nil, err
	}
	server := b.server
	if err := parseCredentials(data, &server); err != nil {
		return nil, fmt.Errorf("auditctl ship: %s %w", b.credentials, err)
	}
	server.Client = &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	return s3lock.OpenAt(ctx, server, b.name, b.opts)
}

// parseCredentials reads one profile of AWS's shared credentials file. Errors repeat nothing of it.
func parseCredentials(data []byte, server *s3lock.Server) error {
	profiles := 0
	for lines, n := bufio.NewScanner(bytes.NewReader(data)), 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			if profiles++; profiles > 1 {
				return errors.New("has several profiles; make a file with the one that may write to the bucket")
			}
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch name = strings.TrimSpace(name); {
		case ok && name == "aws_access_key_id":
			server.AccessKey = value
		case ok && name == "aws_secret_access_key":
			server.SecretKey = value
		case ok && name == "aws_session_token":
			server.SessionToken = value
		default:
			return fmt.Errorf("has in line %d none of aws_access_key_id, aws_secret_access_key and aws_session_token", n)
		}
	}
	if server.AccessKey == "" || server.SecretKey == "" {
		return errors.New("has no aws_access_key_id, or no aws_secret_access_key")
	}
	return nil
}

func (s *streamFlags) add(flags *flag.FlagSet) {
	flags.StringVar(&s.servers, "servers", "", "nats: the servers of the cluster, as URLs with commas between, such as tls://a.example.com,tls://b.example.com; a password in them can be seen by every user of the machine: use -creds")
	flags.StringVar(&s.opts.Stream, "stream", "", "nats: the stream that the events come to")
	flags.StringVar(&s.opts.Subject, "subject", "audit", "nats: what stands before the code in a message's subject")
	flags.StringVar(&s.creds, "creds", "", "nats: a file with the credentials of the cluster's user")
}

func (s *streamFlags) open(ctx context.Context, ca, cert, certKey string) (sink.Sink, error) {
	if s.servers == "" || s.opts.Stream == "" {
		return nil, errors.New("auditctl ship: -to nats needs -servers and -stream")
	}
	opts := s.opts
	if s.creds != "" {
		if _, err := secretFile(s.creds); err != nil { // which looks who can read it
			return nil, err
		}
		opts.Connect = append(opts.Connect, nats.UserCredentials(s.creds))
	}
	if ca != "" {
		opts.Connect = append(opts.Connect, nats.RootCAs(ca))
	}
	if cert != "" {
		opts.Connect = append(opts.Connect, nats.ClientCert(cert, certKey))
	}
	return natssink.Open(ctx, s.servers, opts)
}
