package natslog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultStream is the stream's name where none is given.
const DefaultStream = "STRONGROOM_AUDIT"

const (
	minReplicas = 3
	minWindow   = 2 * time.Minute
	// minPayload is what a server must take in one message: the longest event, 2 MiB, and its headers.
	minPayload = 2<<20 + 4<<10
)

// names are what the package uses in a cluster.
type names struct {
	stream  string
	events  string // the subject of events without the recorder's stream, with a dot at its end
	refused string
}

func parseStream(name string) (n names, err error) {
	if name == "" {
		name = DefaultStream
	}
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) {
		return n, errors.New("natslog: the stream's name is unusable; use 1 to 64 letters, digits, hyphens and underscores")
	}
	of := "strongroom." + name + "."
	return names{stream: name, events: of + "event.", refused: of + "refused"}, nil
}

// CheckName returns why a stream cannot have a name, or nil.
func CheckName(stream string) error {
	_, err := parseStream(stream)
	return err
}

// Config returns the settings of the stream that an administrator makes for a trail ("" for
// [DefaultStream]); in JSON they are what the command nats stream add --config takes. MaxBytes
// bounds what may wait for the sealer, on each replica. It panics where the name is unusable.
func Config(stream string, maxBytes int64) jetstream.StreamConfig {
	n, err := parseStream(stream)
	if err != nil {
		panic(err)
	}
	return jetstream.StreamConfig{
		Name: n.stream, Subjects: []string{n.events + "*", n.refused}, Storage: jetstream.FileStorage, Replicas: minReplicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxBytes: maxBytes, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Duplicates: minWindow, AllowAtomicPublish: true,
	}
}

// check returns everything by which a stream would lose events, double them, or not take them, with what to do.
func (n names) check(c *jetstream.StreamConfig) error {
	var wrong []string
	when := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	when(c.Replicas < minReplicas, "num_replicas is %d: the loss of one node could lose events; use 3 or 5", c.Replicas)
	when(c.Storage != jetstream.FileStorage, "storage is memory: a restart loses it; use file (the stream has to be made anew)")
	when(c.PersistMode == jetstream.AsyncPersistMode, "persist_mode is async: what is acknowledged may not be stored; use default")
	when(c.Discard != jetstream.DiscardNew, "discard is old: a full stream would drop events that are not sealed; use new")
	when(c.Retention != jetstream.LimitsPolicy, "retention is %s: events could go before they are sealed; use limits", c.Retention)
	when(c.MaxAge > 0, "max_age is %v: events would go before they are sealed; use 0", c.MaxAge)
	when(c.MaxMsgsPerSubject > 0, "max_msgs_per_subject is %d: a recorder's events would drop its earlier ones; use -1", c.MaxMsgsPerSubject)
	when(c.MaxMsgSize >= 0 && c.MaxMsgSize < minPayload, "max_msg_size is %d: an event has up to %d bytes; use -1", c.MaxMsgSize, minPayload)
	when(c.Duplicates < minWindow, "duplicate_window is %v: a repeated event would be stored twice at once; use %v or more", c.Duplicates, minWindow)
	when(!c.AllowAtomicPublish, "allow_atomic is off: events that wait together could not be stored together; turn it on (NATS 2.12 or newer)")
	when(c.AllowRollup, "allow_rollup_hdrs is on: whoever may publish could delete all events; turn it off")
	when(c.AllowMsgTTL, "allow_msg_ttl is on: events could be made to expire; turn it off")
	when(c.AllowMsgSchedules, "allow_msg_schedules is on; turn it off")
	when(c.AllowMsgCounter, "allow_msg_counter is on: the stream takes no events; make it anew")
	when(c.NoAck, "no_ack is on: nothing would be acknowledged; turn it off")
	when(c.Sealed, "the stream is sealed, in the sense of NATS: it takes no events; make another")
	when(c.Mirror != nil || len(c.Sources) > 0, "the stream is fed by others; remove mirror and sources")
	when(c.SubjectTransform != nil, "subject_transform would store events elsewhere; remove it")
	when(c.RePublish != nil, "republish would show events to others; remove it")
	when(c.DenyPurge, "deny_purge is on: the sealer could not delete what it has sealed; make the stream anew")
	for _, s := range []string{n.events + "*", n.refused} {
		when(!slices.Contains(c.Subjects, s), "subjects lacks %s", s)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the stream %s is not as natslog.Config makes it:\n\t%s", n.stream, strings.Join(wrong, "\n\t"))
	}
	return nil
}

// Rights are what a user of the cluster may do, as server configuration has it in permissions.
type Rights struct {
	Publish   []string
	Subscribe []string
}

// Permissions returns the rights of the recorders' user and of the sealer's for a stream ("" for
// [DefaultStream]). Each of them needs an inbox of its own ([nats.CustomInboxPrefix], which Open
// and OpenSealer set), so that nobody reads the answers to another. It panics where the name is
// unusable.
func Permissions(stream string) (recorder, sealer Rights) {
	n, err := parseStream(stream)
	if err != nil {
		panic(err)
	}
	const api = "$JS.API."
	recorder = Rights{
		Publish:   []string{n.events + "*", api + "STREAM.INFO." + n.stream},
		Subscribe: []string{recorderInbox(n) + ".>"},
	}
	sealer = Rights{
		Publish: []string{n.refused, api + "STREAM.INFO." + n.stream, api + "STREAM.MSG.GET." + n.stream, api + "STREAM.MSG.DELETE." + n.stream,
			api + "STREAM.PURGE." + n.stream, api + "CONSUMER.MSG.NEXT." + n.stream + "." + sealerName},
		Subscribe: []string{sealerInbox(n) + ".>"},
	}
	for name, filter := range map[string]string{ownerName: n.refused, sealerName: n.events + "*"} {
		sealer.Publish = append(sealer.Publish, api+"CONSUMER.CREATE."+n.stream+"."+name+"."+filter, api+"CONSUMER.INFO."+n.stream+"."+name)
	}
	sealer.Publish = append(sealer.Publish, api+"CONSUMER.DELETE."+n.stream+"."+sealerName)
	slices.Sort(sealer.Publish)
	return recorder, sealer
}

func recorderInbox(n names) string { return "strongroom." + n.stream + ".inbox.recorder" }
func sealerInbox(n names) string   { return "strongroom." + n.stream + ".inbox.sealer" }
