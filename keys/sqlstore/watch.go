package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// Channel is the channel of PostgreSQL's NOTIFY on which stores tell of changes, whatever their table. A payload is the
// record's new version, a space, and the tenant's id: any role that can connect to the database can listen to it, as it
// can send what it likes.
const Channel = "strongroom_keys"

// Listen listens to a channel of a PostgreSQL database, and calls heard with each payload, until ctx ends or the
// connection is lost; it returns why. Package pgxlisten has one.
type Listen func(ctx context.Context, channel string, heard func(payload string)) error

var _ keys.Watcher = (*Store)(nil)

// Watch implements [keys.Watcher] where there is [Options.Listen].
func (s *Store) Watch(ctx context.Context, changed func(id tenant.ID, version int64)) error {
	if s.listen == nil {
		return fmt.Errorf("sqlstore: there is no Options.Listen: %w", errors.ErrUnsupported)
	}
	err := s.listen(ctx, Channel, func(payload string) {
		if id, version, ok := parsePayload(payload); ok {
			changed(id, version)
		}
	})
	if err != nil {
		return fmt.Errorf("sqlstore: listen: %w", classify(ctx, err))
	}
	return nil
}

func parsePayload(payload string) (id tenant.ID, version int64, ok bool) {
	number, text, ok := strings.Cut(payload, " ")
	if !ok {
		return tenant.ID{}, 0, false
	}
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return tenant.ID{}, 0, false
	}
	id, err = tenant.Parse(text)
	return id, version, err == nil
}

// notifies reports whether the database can notify. CockroachDB, for one, cannot, nor can a standby. An empty payload
// tells nobody anything.
func notifies(ctx context.Context, db *sql.DB) bool {
	_, err := db.ExecContext(ctx, "SELECT pg_notify('"+Channel+"', '')")
	return err == nil
}

// notifying makes a statement tell of the row it changes, in the same transaction: nobody hears of what did not happen.
func notifying(statement, version string) string {
	return "WITH changed AS (" + statement + " RETURNING tenant, " + version + " AS version) " +
		"SELECT pg_notify('" + Channel + "', version || ' ' || tenant) FROM changed"
}
