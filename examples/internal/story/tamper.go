package story

import (
	"context"
	"fmt"

	"github.com/strongroom-go/strongroom/storage"
)

// moveBetweenTenants does what no application could: it puts South's sealed note into North's row, and expects that
// North cannot open it. Then it undoes that, to show that the row was otherwise well.
func (s *story) moveBetweenTenants(ctx context.Context) (string, error) {
	souths, err := s.stored(ctx, South, s.cast.south.ID, "notes")
	if err != nil {
		return "", err
	}
	err = s.transplant(ctx, "notes", souths, "SELECT notes FROM patients WHERE id = $1")
	return "South's note, copied into North's row: not shown\n" + s.lastRefusal(), err
}

// moveBetweenColumns puts North's own sealed note where North's name is.
func (s *story) moveBetweenColumns(ctx context.Context) (string, error) {
	norths, err := s.stored(ctx, North, s.cast.north.ID, "notes")
	if err != nil {
		return "", err
	}
	err = s.transplant(ctx, "name", norths, "SELECT name FROM patients WHERE id = $1")
	return "North's own note, copied into the name beside it: not shown\n" + s.lastRefusal(), err
}

// transplant replaces a stored value of North's, expects that it is not shown, and puts the right one back.
func (s *story) transplant(ctx context.Context, column string, value []byte, query string) error {
	id := s.cast.north.ID
	before, err := s.stored(ctx, North, id, column)
	if err != nil {
		return err
	}
	if err := s.store(ctx, column, value); err != nil {
		return err
	}
	if err := s.expectError(s.query(s.north(ctx), query, id), storage.ErrIsolation); err != nil {
		return err
	}
	if err := s.store(ctx, column, before); err != nil {
		return err
	}
	return s.query(s.north(ctx), query, id)
}

func (s *story) store(ctx context.Context, column string, value []byte) error {
	_, err := s.RawDB.ExecContext(ctx, s.raw("UPDATE patients SET "+column+" = $1 WHERE tenant_id = $2 AND id = $3"), value, North.String(), s.cast.north.ID)
	return err
}

// moveObject copies South's object over North's in the inner bucket.
func (s *story) moveObject(ctx context.Context) (string, error) {
	const kept = "kept"
	if err := s.RawBucket.Copy(ctx, kept, objectName(North), nil); err != nil {
		return "", err
	}
	if err := s.RawBucket.Copy(ctx, objectName(North), objectName(South), nil); err != nil {
		return "", err
	}
	got, err := s.Bucket.ReadAll(s.north(ctx), scanKey)
	if len(got) > 0 {
		return "", fmt.Errorf("%d bytes of South's scan were shown", len(got))
	}
	if err := s.expectError(err, storage.ErrIsolation); err != nil {
		return "", err
	}
	if err := s.RawBucket.Copy(ctx, objectName(North), kept, nil); err != nil {
		return "", err
	}
	if _, err := s.Bucket.ReadAll(s.north(ctx), scanKey); err != nil {
		return "", fmt.Errorf("after the right object was put back: %w", err)
	}
	return "South's scan, copied over North's: not shown\n" + s.lastRefusal(), s.RawBucket.Delete(ctx, kept)
}
