// Package sink delivers the events of an audit log elsewhere:
//
//	Slog                  a handler of log/slog
//	audit/sink/webhook    HTTP: CloudEvents, signed as Standard Webhooks says
//	audit/sink/syslog     RFC 5424 over TLS
//	audit/sink/otlp       OpenTelemetry logs over HTTP
//	audit/sink/sqltable   a table in PostgreSQL or SQLite
//	audit/sink/s3lock     objects under S3 Object Lock
//	audit/sink/natssink   a stream of NATS JetStream
//
//	shipper, err := sink.Open("audit", "audit-to-siem.cursor", hook, nil)
//	…
//	go shipper.Run(ctx)
//
// A [Shipper] reads what the log has sealed, that is events on its disk and under a signed
// checkpoint, and checks them against it. It is not in any access's path: it has no part in the
// recording of events, reads files alone, and may as well run in a process of its own, or on a
// machine that the files are copied to, the checkpoints last. However slow or dead a sink is, no
// access waits for it.
//
// Every event is delivered at least once, in the order of the log. A cursor, a file that is
// replaced atomically and synced, says how far the sink is; it is written when the sink has taken
// events, so that a crash between the two has them delivered again. What was delivered twice has
// the same uid twice: let the receiver keep each uid once. The cursor holds the Merkle tree over
// what was delivered: with another log, or one that was changed or cut since, the shipper stops
// with an error that wraps [audit.ErrTampered], and nothing of that is delivered. An event is never
// passed over: where a sink refuses one for good, it is tried again, and [Shipper.Lag] grows until
// somebody sees to it.
//
// Retention that is given [Needed] deletes nothing that a sink has not; without it, a sink that is behind what was deleted stops,
// and says so.
//
// A sink is given events as they stand in the log: actors are pseudonyms, and personal details are
// sealed under their tenant's key.
package sink
