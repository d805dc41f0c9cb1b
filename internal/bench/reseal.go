package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

var resealValues = flag.Int("values", 50_000, "how many values sql.reseal moves to a new key at a time; from 500,000 on there are two turns")

// manyValues is from where on two turns do.
const manyValues = 500_000

// resealRows are about moving all values of a tenant to a new key, on PostgreSQL with row-level security and a durable trail.
// The figures are of one value. Ours includes the rotation, and counting what is left. The alternative does for the same rows
// what nobody can do without: it reads them in batches as large, decrypts, encrypts, and writes them back, each batch in one
// transaction and one round trip.
func resealRows() []Row {
	const peer = "pgx and Tink: read, decrypt, encrypt, write by hand"
	return []Row{
		{"sql.reseal.data", peer, func() (*Pair, error) { return resealPair(*resealValues, false) }},
		{"sql.reseal.index", peer, func() (*Pair, error) { return resealPair(*resealValues, true) }},
	}
}

// resealBench is two tables of the same values, of one tenant.
type resealBench struct {
	id   tenant.ID
	ctx  context.Context
	ring *keys.Keyring
	db   *sql.DB
	peer *pgx.Conn
	aead tink.AEAD // of the alternative
	prf  prf.PRF
	old  map[keys.Purpose]uint32
}

func resealPair(n int, index bool) (p *Pair, err error) {
	t := &bare{}
	defer func() {
		if f, ok := recover().(failure); ok {
			err = errors.New(string(f))
		}
	}()
	database := testenv.Postgres(t).NewDatabase(t)
	f, err := newFixture(1)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	b := &resealBench{id: f.ids[0], old: map[keys.Purpose]uint32{keys.PurposeData: 0}}
	b.ctx = tenant.NewContext(ctx, tenant.Access{Tenant: b.id, Actor: "dr.adams", Purpose: "rotation"})
	if b.ring, err = f.ring(f.kek, &keys.Options{SuspendWithin: 10 * time.Millisecond, Timeout: time.Second}); err != nil {
		return nil, err
	}
	column, purposes := sqldb.Text(), []keys.Purpose{keys.PurposeData}
	if index {
		column, purposes = column.Searchable("note_index"), append(purposes, keys.PurposeIndex)
		b.old[keys.PurposeIndex] = 0
	}
	schema := sqldb.Schema{"notes": {Sealed: sqldb.Columns{"note": column}}}
	if err := b.fill(database, n, schema); err != nil {
		return nil, err
	}
	log, _, cleanup, err := openTrail(&audit.Options{})
	if err != nil {
		return nil, err
	}
	if b.db, err = sqldb.Open(ctx, database.AppURL, schema, storage.Guard{Keys: b.ring, Audit: log}, nil); err != nil {
		return nil, err
	}
	if b.peer, err = pgx.Connect(ctx, database.AppURL); err != nil {
		return nil, err
	}
	ours := func(times int) error {
		for range times {
			if err := b.reseal(n, purposes); err != nil {
				return err
			}
		}
		return nil
	}
	peer := func(times int) error {
		for range times {
			if err := b.byHand(n, index); err != nil {
				return err
			}
		}
		return nil
	}
	turns := 0
	if n >= manyValues {
		turns = 2
	}
	return &Pair{Ours: ours, Peer: peer, Each: n, Turns: turns, Cleanup: func() {
		b.db.Close()
		b.peer.Close(ctx)
		cleanup()
		f.cleanup()
	}}, nil
}

// fill makes both tables, of values that the tenant's first key sealed. Both have an index column, which may stay empty.
func (b *resealBench) fill(database *testenv.Database, n int, schema sqldb.Schema) error {
	ctx := context.Background()
	owner, err := pgx.Connect(ctx, database.OwnerURL)
	if err != nil {
		return err
	}
	defer owner.Close(ctx)
	k, err := b.ring.Tenant(ctx, b.id)
	if err != nil {
		return err
	}
	byHandIndex := ""
	if _, index := b.old[keys.PurposeIndex]; index { // the guarded table has one too
		byHandIndex = "CREATE INDEX ON notes_by_hand (tenant_id, note_index)"
	}
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	if b.aead, err = aead.New(h); err != nil {
		return err
	}
	b.prf = k.Index().PRFs[k.Index().PrimaryID]
	for _, table := range []string{"notes", "notes_by_hand"} {
		if _, err := owner.Exec(ctx, `CREATE TABLE `+table+` (tenant_id text COLLATE "C" NOT NULL, id bigint NOT NULL, note bytea, note_index bytea, PRIMARY KEY (tenant_id, id))`); err != nil {
			return err
		}
	}
	ddl, err := schema.DDL(dialect.PostgreSQL, nil)
	if err != nil {
		return err
	}
	// Before row-level security, with which COPY does not work.
	for table, seal := range map[string]func(string) ([]byte, error){
		"notes": func(v string) ([]byte, error) {
			return envelope.SealField(k.Data(), b.id, "notes", "note", envelope.Text, v)
		},
		"notes_by_hand": func(v string) ([]byte, error) { return b.aead.Encrypt([]byte(v), place) },
	} {
		_, err := owner.CopyFrom(ctx, pgx.Identifier{table}, []string{"tenant_id", "id", "note"}, pgx.CopyFromSlice(n, func(i int) ([]any, error) {
			sealed, err := seal(fmt.Sprintf("note number %d, of some forty characters", i))
			return []any{b.id.String(), int64(i), sealed}, err
		}))
		if err != nil {
			return err
		}
	}
	for _, statement := range []string{ddl, byHandIndex, "ALTER TABLE notes_by_hand ADD CHECK (octet_length(note) >= 34 AND get_byte(note, 0) = 1)", "VACUUM ANALYZE"} {
		if _, err := owner.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// reseal rotates, moves the values, and destroys the older keys, so that as many times as may be are possible.
func (b *resealBench) reseal(n int, purposes []keys.Purpose) error {
	for p := range b.old {
		all, err := b.ring.Versions(b.ctx, b.id, p)
		if err != nil {
			return err
		}
		b.old[p] = all[0].ID
		if err := b.ring.Rotate(b.ctx, b.id, p, ""); err != nil {
			return err
		}
	}
	report, err := sqldb.Reseal(b.ctx, b.db, &sqldb.ResealOptions{Purposes: purposes})
	if err != nil {
		return err
	}
	if report.Resealed != int64(n) || len(report.Left) != 0 {
		return fmt.Errorf("%d values were moved, and %d should have been; left are %v", report.Resealed, n, report.Left)
	}
	for p, key := range b.old {
		remaining := func(context.Context) (int64, error) { return report.Remaining(p) }
		if err := b.ring.DisableKey(b.ctx, b.id, p, key, "", remaining); err != nil {
			return err
		}
		if err := b.ring.DestroyKey(b.ctx, b.id, p, key, "", remaining); err != nil {
			return err
		}
	}
	return nil
}

// note is a value as it is read.
type note struct {
	id     int64
	sealed []byte
}

// place is the associated data of the alternative's values.
var place = []byte("tenant-000000 notes note")

// byHand does the same with nothing around it. It opens and seals with one key, which makes no difference.
func (b *resealBench) byHand(n int, index bool) error {
	ctx := context.Background()
	for done, last := 0, int64(-1); done < n; {
		tx, err := b.peer.Begin(ctx)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT id, note FROM notes_by_hand WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3", b.id.String(), last, sqldb.DefaultResealBatch)
		if err != nil {
			return err
		}
		notes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v note, err error) { return v, row.Scan(&v.id, &v.sealed) })
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, v := range notes {
			plain, err := b.aead.Decrypt(v.sealed, place)
			if err != nil {
				return err
			}
			sealed, err := b.aead.Encrypt(plain, place)
			if err != nil {
				return err
			}
			if !index {
				batch.Queue("UPDATE notes_by_hand SET note = $3 WHERE tenant_id = $1 AND id = $2", b.id.String(), v.id, sealed)
				continue
			}
			found, err := b.prf.ComputePRF(plain, 16)
			if err != nil {
				return err
			}
			batch.Queue("UPDATE notes_by_hand SET note = $3, note_index = $4 WHERE tenant_id = $1 AND id = $2", b.id.String(), v.id, sealed, found)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		if done += len(notes); len(notes) == 0 {
			return errors.New("rows are missing")
		}
		last = notes[len(notes)-1].id
	}
	return nil
}
