// Package natslog keeps an audit trail in NATS JetStream, for services that have no disk of their
// own: the processes of a service record into a stream of a cluster, and one sealer takes the
// messages into a tamper-evident [audit.Log] ([OpenSealer], or the command auditctl seal -nats).
//
//	config := natslog.Config("", 64<<30) // an administrator makes the stream once, with these settings; auditctl nats prints them
//	…
//	trail, err := natslog.Open(ctx, "tls://a.example.com,tls://b.example.com,tls://c.example.com", natslog.Options{
//		StreamOptions: audit.StreamOptions{Signer: signer},
//		Connect:       []nats.Option{nats.UserCredentials("recorder.creds")},
//	})
//	…
//	guard := storage.Guard{Keys: ring, Audit: trail}
//
// # What is in the stream
//
// Each event is one message: its data is the event's line, its id (Nats-Msg-Id) the event's uid,
// and its subject strongroom.STREAM.event.RECORDER, where the last part is the recorder's own
// stream ([audit.Stream]). Headers have the line's number, its MAC and the key that is under.
// Events that wait at the same time go as one atomic batch, of at most 500 messages: all of them or
// none.
//
// # What an acknowledgement means
//
// Record returns when the stream's leader has answered that a majority of its three or five
// replicas has the message. So one node of three may be lost for good. JetStream hands what it
// stores to the kernel, and syncs the disk every two minutes unless the servers are told otherwise:
// where the power of a majority fails at once, acknowledged events may be lost. Set
//
//	jetstream { sync_interval: always }
//
// on every server, so that an acknowledgement stands for disks. No client can see that setting, and
// nothing here checks it.
//
// After an answer that did not come the same messages are published again, under the same ids.
// Within the stream's window of duplicates (two minutes or more) the server drops them. Beyond it
// they are stored a second time, and the sealer leaves them out: a row has one number in its
// recorder's stream, and a log has each number once. A recorder begins its next batch when the one
// before is acknowledged, so that nothing that can still come is missing between two messages.
//
// While the cluster has no leader, the stream is full, or nobody answers, Record fails with
// [audit.ErrUnavailable] within StreamOptions.Timeout, and so does every access. A stream that is
// full refuses (DiscardNew): nothing that waits for the sealer is ever dropped for it.
//
// # Who may do what
//
// [Permissions] are two users: a recorder may publish events, and neither read nor delete any, nor
// change the stream; [Open] tries each of these and refuses a user who may. A sealer may read and
// delete, and nobody else needs to. Whoever may publish can fill the stream, which stops all
// services that record into it: give services that do not trust each other streams of their own.
// The recorders' signer authenticates every message against all who have not that key, the
// cluster's administrators included; see "Streams" in the documentation of package audit for what
// that shows, and what not.
//
// Connections are encrypted, or go to this machine.
//
// # The sealer
//
// One sealer at a time has a stream: its events come through a consumer that only one request can
// create, and that the cluster deletes when its sealer has asked it for nothing for
// SealOptions.Lease. A stream belongs to the first log that seals it, which a second consumer says
// that stays. Messages are read in the order of the stream, and purged once the log has them on its
// disk; a sealer that was killed anywhere in between goes on without loss or doubling, because the
// log itself knows how far each recorder is in it. Before it believes a replica that a message is
// missing, it asks the stream's leader. Messages that are not authentic are moved to the subject
// strongroom.STREAM.refused, where there is room, and the newest 1,000 of them are kept. Those
// under a key that the sealer has not are left alone.
//
// Watch [audit.Stream.Err] and Stats in the services, and how full the stream is.
package natslog
