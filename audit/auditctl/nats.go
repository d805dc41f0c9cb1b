package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"golang.org/x/mod/sumdb/note"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/natslog"
)

// natsSource is where a trail in NATS JetStream is.
type natsSource struct {
	servers, stream, creds, ca *string
}

func natsFlags(flags *flag.FlagSet) natsSource {
	return natsSource{
		servers: flags.String("nats", "", `in place of -db: the servers of a NATS cluster, as URLs with commas between, such as tls://a.example.com,tls://b.example.com.
A password in them can be seen by every user of the machine: use -creds`),
		stream: flags.String("stream", natslog.DefaultStream, "the stream of the cluster"),
		creds:  flags.String("creds", "", "a file with the credentials of the cluster's user"),
		ca:     flags.String("ca", "", "a file with the certificates of the authority that signs the cluster's, in PEM; those of the system by default"),
	}
}

func (n natsSource) open(ctx context.Context, log *audit.Log, signers []note.Signer, progress func(audit.Sealed, error)) (*natslog.Sealer, error) {
	var connect []nats.Option
	if *n.creds != "" {
		connect = append(connect, nats.UserCredentials(*n.creds))
	}
	if *n.ca != "" {
		connect = append(connect, nats.RootCAs(*n.ca))
	}
	return natslog.OpenSealer(ctx, *n.servers, log, natslog.SealOptions{Signers: signers, Stream: *n.stream, Connect: connect, Progress: progress})
}

// natsSetup prints what an administrator of a NATS cluster needs for a trail.
func natsSetup(args []string, out, errs io.Writer) error {
	flags := flag.NewFlagSet("nats", flag.ContinueOnError)
	stream := flags.String("stream", natslog.DefaultStream, "the stream's name")
	gib := flags.Int64("gib", 16, "how much may wait for the sealer on each of the three nodes, in GiB")
	if err := parseFlags(flags, args, errs); err != nil {
		return err
	}
	if flags.NArg() != 0 || *gib < 1 || *gib > 1<<20 {
		return fmt.Errorf("auditctl nats: give flags alone, and -gib from 1 to %d", 1<<20)
	}
	if err := natslog.CheckName(*stream); err != nil {
		return err
	}
	recorder, sealer := natslog.Permissions(*stream)
	type rights struct {
		Publish   map[string][]string `json:"publish"`
		Subscribe map[string][]string `json:"subscribe"`
	}
	of := func(r natslog.Rights) rights {
		return rights{map[string][]string{"allow": r.Publish}, map[string][]string{"allow": r.Subscribe}}
	}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{
		"stream":      natslog.Config(*stream, *gib<<30), // for nats stream add --config
		"permissions": map[string]rights{"recorder": of(recorder), "sealer": of(sealer)},
	})
}
