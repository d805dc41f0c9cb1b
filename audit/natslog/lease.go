package natslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrSealing means that another sealer seals the stream.
var ErrSealing = errors.New("natslog: another sealer has the stream; stop it first, or wait until the cluster has noticed that it ended")

// The consumers of a stream, and what their metadata says. Both are made by a request that creates
// and never changes: of several that ask for different ones under one name, the cluster lets one
// have it.
const (
	ownerName  = "strongroom-log"    // says which log seals the stream, and stays
	sealerName = "strongroom-sealer" // delivers the events to the one sealer; it goes when nobody has asked it for anything for a while

	metaLog    = "strongroom-log"    // the log's verifier key
	metaHolder = "strongroom-holder" // one making of the consumer by one OpenSealer
)

// own takes the stream for the log.
func (s *Sealer) own(ctx context.Context) error {
	mine := s.log.Verifier()
	c, err := s.js.CreateConsumer(ctx, s.names.stream, jetstream.ConsumerConfig{
		Durable: ownerName, FilterSubject: s.names.refused, DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy,
		Metadata: map[string]string{metaLog: mine},
	})
	if errors.Is(err, jetstream.ErrConsumerExists) {
		c, err = s.js.Consumer(ctx, s.names.stream, ownerName)
	}
	if err != nil {
		return s.failed(err)
	}
	if log := c.CachedInfo().Config.Metadata[metaLog]; log != mine {
		return fmt.Errorf("natslog: the stream %s is sealed into the log with the key %q, and not into %q: two logs would each have a part, and gaps; open that log, or make a stream for this one",
			s.names.stream, log, mine)
	}
	return nil
}

// take makes the consumer that delivers events, from the first that is there, where there is none.
// One of this sealer's that is of no more use is deleted before.
func (s *Sealer) take(ctx context.Context) error {
	if s.consumer != nil {
		return s.still(ctx)
	}
	before := s.making
	for {
		holder := s.holder + " " + strconv.Itoa(before+1)
		c, err := s.js.CreateConsumer(ctx, s.names.stream, jetstream.ConsumerConfig{
			Durable: sealerName, FilterSubject: s.names.events + "*", DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
			InactiveThreshold: s.opts.Lease, Metadata: map[string]string{metaLog: s.log.Verifier(), metaHolder: holder},
		})
		if err == nil {
			s.making, s.asked = before+1, time.Now()
			s.consumer, s.ordinal, s.next, s.alone, s.others, s.leaps = c, 0, 1, 0, 0, leaps{}
			return nil
		}
		if !errors.Is(err, jetstream.ErrConsumerExists) {
			return s.failed(err)
		}
		c, err = s.js.Consumer(ctx, s.names.stream, sealerName)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return s.failed(err)
		}
		if !s.made(c.CachedInfo().Config.Metadata[metaHolder]) {
			return ErrSealing
		}
		if err := s.js.DeleteConsumer(ctx, s.names.stream, sealerName); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return s.failed(err)
		}
	}
}

// still looks whether the consumer is this sealer's, where it may be gone since the last look:
// another's has the same name, and what this sealer asked that for would be missing there.
func (s *Sealer) still(ctx context.Context) error {
	now := time.Now()
	if now.Sub(s.asked) < s.opts.Lease/3 {
		return nil
	}
	info, err := s.consumer.Info(ctx)
	switch {
	case err != nil:
		return s.failed(err)
	case !s.made(info.Config.Metadata[metaHolder]):
		return ErrSealing
	}
	s.asked = now
	return nil
}

// made tells whether this sealer made a consumer, or asked for it and had no answer.
func (s *Sealer) made(holder string) bool {
	return len(holder) > len(s.holder) && holder[:len(s.holder)+1] == s.holder+" "
}

// noticed is how long a cluster takes to delete a consumer that nobody uses any more.
const noticed = 5 * time.Second

// waitForTurn takes the stream, where a sealer that was killed had it as soon as the cluster has noticed.
func (s *Sealer) waitForTurn(ctx context.Context) error {
	for deadline := time.Now().Add(s.opts.Lease + noticed); ; {
		asking, cancel := context.WithTimeout(ctx, openTimeout)
		err := s.take(asking)
		cancel()
		if !errors.Is(err, ErrSealing) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(s.opts.Lease / 10):
		}
	}
}
