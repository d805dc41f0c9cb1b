package natslog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/internal/natsconn"
)

// The headers of a message. Those of NATS are in its documentation, "JetStream headers" and ADR-50.
const (
	headerID       = nats.MsgIdHdr
	headerStream   = nats.ExpectedStreamHdr
	headerBatch    = "Nats-Batch-Id"
	headerPosition = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"

	headerKey    = "Strongroom-Key"    // Row.Key, decimal
	headerNumber = "Strongroom-Number" // Row.Number
	headerWrite  = "Strongroom-Batch"  // Row.Batch
	headerMAC    = "Strongroom-Mac"    // Row.MAC, base64
)

// maxAtomic is how many messages are one batch. A server takes 1,000 unless it is told otherwise.
const maxAtomic = 500

// engine publishes rows.
type engine struct {
	*client
	failover natsconn.Failover // a stream appends one batch at a time
}

func (e *engine) String() string { return e.place }

// Append implements [audit.Engine]. What is more than one batch goes in several, one after the
// other: rows come to be there from the first on, and when they are published again those that are
// there are known by their ids. So ErrRepeated needs no telling. Nobody can take a row's place: a
// stream has room for any number of messages under one number, of which a sealer takes the
// authentic one.
func (e *engine) Append(ctx context.Context, rows []audit.Row) error {
	for len(rows) > 0 {
		n := min(len(rows), maxAtomic)
		err := e.publish(ctx, rows[:n])
		e.failover.Ended(e.nc, err)
		if err != nil {
			return describe(err)
		}
		rows = rows[n:]
	}
	return nil
}

// publish stores messages, all or none.
func (e *engine) publish(ctx context.Context, rows []audit.Row) error {
	batch := ""
	if len(rows) > 1 {
		batch = nuid.Next() // another for each attempt: what is left of one that failed takes no part in the next
	}
	for i := range rows {
		m := e.message(&rows[i])
		if batch != "" {
			m.Header.Set(headerBatch, batch)
			m.Header.Set(headerPosition, strconv.Itoa(i+1))
		}
		if i < len(rows)-1 {
			if err := e.nc.PublishMsg(m); err != nil {
				return err
			}
			continue
		}
		if batch != "" {
			m.Header.Set(headerCommit, "1")
		}
		answer, err := e.nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return err
		}
		ack, err := parseAck(answer.Data, e.names.stream)
		var refusal *apiError
		switch {
		case errors.As(err, &refusal) && refusal.ErrCode == codeDuplicates && batch != "":
			return nil // the batch is there since an attempt whose answer was lost: no other one has these ids
		case err != nil:
			return err
		case batch != "" && (ack.Batch != batch || ack.Count != len(rows)):
			return fmt.Errorf("%d of %d messages of a batch were confirmed; the servers must be NATS 2.12 or newer", ack.Count, len(rows))
		}
	}
	return nil
}

func (e *engine) message(r *audit.Row) *nats.Msg {
	m := nats.NewMsg(e.names.events + r.Stream)
	m.Header = nats.Header{
		headerID: {r.UID}, headerStream: {e.names.stream}, headerKey: {strconv.FormatUint(uint64(r.Key), 10)}, headerNumber: {strconv.FormatInt(r.Number, 10)},
		headerWrite: {strconv.FormatInt(r.Batch, 10)}, headerMAC: {base64.StdEncoding.EncodeToString(r.MAC)},
	}
	m.Data = r.Line
	return m
}

// row returns the row in a message that somebody published. What is no row has no MAC, so that no
// adopter takes it for one.
func (n names) row(subject string, h nats.Header, data []byte) audit.Row {
	r := audit.Row{UID: h.Get(headerID), Line: data}
	if len(subject) > len(n.events) {
		r.Stream = subject[len(n.events):]
	}
	key, err := strconv.ParseUint(h.Get(headerKey), 10, 32)
	r.Key = uint32(key)
	var err2, err3, err4 error
	r.Number, err2 = strconv.ParseInt(h.Get(headerNumber), 10, 64)
	r.Batch, err3 = strconv.ParseInt(h.Get(headerWrite), 10, 64)
	r.MAC, err4 = base64.StdEncoding.Strict().DecodeString(h.Get(headerMAC))
	if errors.Join(err, err2, err3, err4) != nil {
		r.MAC = nil
	}
	return r
}

// Close implements [audit.Engine].
func (e *engine) Close() error {
	e.close()
	return nil
}
