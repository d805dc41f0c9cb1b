package pglog

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/audit"
)

// The rows of each stream are read in the order of their numbers, from the first that is there. A recorder has one insert
// under way and begins the next when the one before is known to be committed, so that a snapshot which has a row has all the
// stream's rows before it that ever were: one that is missing there never comes. Ids that the database gives out in order would
// not do: they become visible in the order of the commits. One statement has one snapshot. The streams are found by skipping
// through the index.
const selectRows = `WITH RECURSIVE streams (stream) AS (
	(SELECT stream FROM {rows} WHERE NOT refused AND key = ANY ($4) AND stream > $1 ORDER BY stream LIMIT 1)
	UNION ALL
	SELECT (SELECT r.stream FROM {rows} r WHERE NOT r.refused AND r.key = ANY ($4) AND r.stream > s.stream ORDER BY r.stream LIMIT 1) FROM streams s WHERE s.stream IS NOT NULL
)
SELECT r.stream, r.number, r.batch, r.uid, r.line, r.key, r.mac FROM streams s CROSS JOIN LATERAL (
	SELECT * FROM {rows} WHERE stream = s.stream AND NOT refused AND key = ANY ($4) ORDER BY number LIMIT $2
) r LIMIT $3`

// chunk is about how many bytes of lines are taken into the log at once.
const chunk = 1 << 20

// keys names rows.
type keys struct {
	streams [][16]byte
	numbers []int64
	uids    [][16]byte
}

func (k *keys) add(r *audit.Row) {
	k.streams, k.numbers = append(k.streams, uuid.MustParse(r.Stream)), append(k.numbers, r.Number)
	k.uids = append(k.uids, uuid.MustParse(r.UID))
}

// Round takes what is in the table into the log, up to SealOptions.Rows, and deletes from the table what the log has made
// durable. A round that was interrupted, wherever it was, loses nothing and doubles nothing: the log knows how far each stream
// is in it. After an error the next round begins with a new connection.
func (s *Sealer) Round(ctx context.Context) (Sealed, error) {
	var sealed Sealed
	if err := s.connect(ctx); err != nil {
		return sealed, err
	}
	var done, refused keys
	err := s.adopt(ctx, &sealed, &done, &refused)
	// What is in the log is deleted even where the rest could not be read.
	if err == nil || ctx.Err() == nil && s.conn != nil && !s.conn.IsClosed() {
		if err2 := s.forget(ctx, &done, &refused); err == nil {
			err = err2
		}
	}
	if err != nil {
		s.drop()
	}
	return sealed, err
}

// adopt reads rows and takes them into the log.
func (s *Sealer) adopt(ctx context.Context, sealed *Sealed, done, refused *keys) error {
	rows, err := s.conn.Query(ctx, strings.ReplaceAll(selectRows, "{rows}", s.table.rows), s.after, s.opts.Rows/4, s.opts.Rows, s.keys)
	if err != nil {
		return s.failed(err)
	}
	defer rows.Close()
	var some []audit.Row
	size, n := 0, 0
	var last [16]byte
	of := map[[16]byte]int{}
	flush := func() error {
		a, err := s.adopter.Adopt(ctx, some)
		if err != nil {
			return err
		}
		bad := 0
		for i := range some {
			if bad < len(a.Refused) && a.Refused[bad] == i {
				refused.add(&some[i])
				bad++
				continue
			}
			done.add(&some[i])
		}
		sealed.Add(a)
		some, size = some[:0], 0
		return nil
	}
	for rows.Next() {
		var r audit.Row
		var stream, uid [16]byte
		if err := rows.Scan(&stream, &r.Number, &r.Batch, &uid, &r.Line, &r.Key, &r.MAC); err != nil {
			return s.failed(err)
		}
		r.Stream, r.UID = uuid.UUID(stream).String(), uuid.UUID(uid).String()
		some = append(some, r)
		n++
		last = stream
		if of[stream]++; of[stream] == s.opts.Rows/4 {
			sealed.More = true
		}
		if size += len(r.Line); size >= chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return s.failed(err)
	}
	if err := flush(); err != nil {
		return err
	}
	if n == 0 {
		if err := s.conn.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM `+s.table.rows+` WHERE NOT refused AND key <> ALL ($1)`, s.keys).Scan(&sealed.OtherKeys); err != nil {
			return s.failed(err)
		}
	}
	// Streams take turns where there are too many for one round.
	wrapped := s.after != [16]byte{}
	if s.after = [16]byte{}; n == s.opts.Rows {
		s.after, sealed.More = last, true
	} else if wrapped {
		sealed.More = true
	}
	return nil
}

// forget deletes rows that the log has, and marks those that it refuses.
func (s *Sealer) forget(ctx context.Context, done, refused *keys) error {
	const these = ` FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.uuid[]), pg_catalog.unnest($2::pg_catalog.int8[]), pg_catalog.unnest($3::pg_catalog.uuid[])) AS k (stream, number, uid) ` +
		`WHERE r.stream = k.stream AND r.number = k.number AND r.uid = k.uid AND NOT r.refused`
	if len(refused.uids) > 0 {
		if _, err := s.conn.Exec(ctx, `UPDATE `+s.table.rows+` r SET refused = true`+these, refused.streams, refused.numbers, refused.uids); err != nil {
			return s.failed(err)
		}
	}
	if len(done.uids) == 0 {
		return nil
	}
	tag, err := s.conn.Exec(ctx, `DELETE FROM `+s.table.rows+` r USING`+strings.TrimPrefix(these, ` FROM`), done.streams, done.numbers, done.uids)
	if err != nil {
		return s.failed(err)
	}
	if n := int64(len(done.uids)) - tag.RowsAffected(); n > 0 {
		return fmt.Errorf("pglog: %d rows of the table %s that the log has were not there to be deleted any more: somebody else deletes rows, or a trigger keeps them", n, s.table.plain)
	}
	return nil
}
