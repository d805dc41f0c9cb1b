package story

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
	"github.com/strongroom-go/strongroom/tenant"
)

func (s *story) samePrimaryKey(ctx context.Context) (string, error) {
	id := s.cast.north.ID
	return s.tell(ctx, fmt.Sprintf("patient %d", id), "SELECT name FROM patients WHERE id = $1", id, s.cast.north.Name, s.cast.south.Name)
}

func (s *story) sameSSN(ctx context.Context) (string, error) {
	return s.tell(ctx, "the same SSN", "SELECT name FROM patients WHERE ssn = $1", s.cast.sharedSSN, s.cast.sharedNorth.Name, s.cast.sharedSouth.Name)
}

// tell asks the same question for both clinics and expects their own answers, one each.
func (s *story) tell(ctx context.Context, what, query string, arg any, norths, souths string) (string, error) {
	for _, asked := range []struct {
		ctx  context.Context
		want string
	}{{s.north(ctx), norths}, {s.south(ctx), souths}} {
		rows, err := s.DB.QueryContext(asked.ctx, query, arg)
		if err != nil {
			return "", err
		}
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				rows.Close()
				return "", err
			}
			names = append(names, name)
		}
		if err := rows.Err(); err != nil {
			return "", err
		}
		if !slices.Equal(names, []string{asked.want}) {
			return "", fmt.Errorf("%s: %d rows, and not the one that was stored", what, len(names))
		}
	}
	return fmt.Sprintf("%s is %q for North and %q for South", what, norths, souths), nil
}

func (s *story) foreignPrimaryKey(ctx context.Context) (string, error) {
	id := s.cast.southsOwn.ID
	return fmt.Sprintf("patient %d, whom only South has: no rows for North", id), s.onlySouth(ctx, "SELECT name FROM patients WHERE id = $1", id)
}

func (s *story) foreignSSN(ctx context.Context) (string, error) {
	return "an SSN that only South has: no rows for North", s.onlySouth(ctx, "SELECT name FROM patients WHERE ssn = $1", s.cast.southsSSN)
}

// onlySouth expects a row for South, which shows that the query could find one, and none for North.
func (s *story) onlySouth(ctx context.Context, query string, arg any) error {
	var name string
	if err := s.DB.QueryRowContext(s.south(ctx), query, arg).Scan(&name); err != nil {
		return fmt.Errorf("the row for its owner: %w", err)
	}
	err := s.DB.QueryRowContext(s.north(ctx), query, arg).Scan(&name)
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("a row of South's, asked for by North, gave this instead of no rows: %w", errors.Join(err, errOpen(err)))
	}
	return nil
}

// errOpen turns the absence of an error into one.
func errOpen(err error) error {
	if err == nil {
		return errors.New("the row itself")
	}
	return nil
}

// writeForeign tries to change and delete what is South's, and everything there is.
func (s *story) writeForeign(ctx context.Context) (string, error) {
	before, err := s.count(s.south(ctx), "SELECT count(*) FROM patients")
	if err != nil {
		return "", err
	}
	id := s.cast.southsOwn.ID
	if err := s.changes(ctx, 0, "UPDATE patients SET insurer = 'gone' WHERE id = $1", id); err != nil {
		return "", err
	}
	if err := s.changes(ctx, 0, "DELETE FROM patients WHERE id = $1", id); err != nil {
		return "", err
	}
	// Not even the oldest injection of all reaches across.
	if err := s.changes(ctx, int64(len(s.cast.of(North))-1), "UPDATE patients SET insurer = 'North''s' WHERE id = $1 OR 1 = 1", id); err != nil {
		return "", err
	}
	after, err := s.count(s.south(ctx), "SELECT count(*) FROM patients WHERE insurer IS NULL OR insurer <> 'North''s'")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("UPDATE, DELETE and even … OR 1 = 1 change none of South's %d rows", after), expect("the number of South's rows", after, before)
}

func (s *story) sameObjectKey(ctx context.Context) (string, error) {
	for _, clinic := range []tenant.ID{North, South} {
		want, err := io.ReadAll(data.Scan(clinic.String()))
		if err != nil {
			return "", err
		}
		got, err := s.Bucket.ReadAll(as(ctx, clinic, "dr.cole"), scanKey)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(got, want) {
			return "", fmt.Errorf("the scan of %s is not what was stored", clinic)
		}
	}
	return scanKey + " is North's scan for North and South's for South", nil
}

func (s *story) foreignObjectKey(ctx context.Context) (string, error) {
	if _, err := s.Bucket.ReadAll(s.south(ctx), southsKey); err != nil {
		return "", fmt.Errorf("the object for its owner: %w", err)
	}
	for _, key := range []string{southsKey, "../" + South.Segment() + "/" + southsKey, South.Segment() + "/" + southsKey, "/" + South.Segment() + "/" + southsKey} {
		_, err := s.Bucket.ReadAll(s.north(ctx), key)
		if gcerrors.Code(err) != gcerrors.NotFound {
			return "", fmt.Errorf("object %q, asked for by North, gave this instead of \"not found\": %w", key, errors.Join(err, errOpen(err)))
		}
		s.refused = append(s.refused, err.Error())
	}
	return southsKey + " and ../" + South.Segment() + "/" + southsKey + ": not found for North", nil
}

func (s *story) listing(ctx context.Context) (string, error) {
	souths, err := s.list(s.south(ctx))
	if err != nil {
		return "", err
	}
	norths, err := s.list(s.north(ctx))
	if err != nil {
		return "", err
	}
	if !slices.Equal(souths, []string{scanKey, southsKey}) || !slices.Equal(norths, []string{scanKey}) {
		return "", fmt.Errorf("the listings are %q for North and %q for South", norths, souths)
	}
	return fmt.Sprintf("listing the bucket: %d object for North, %d for South", len(norths), len(souths)), nil
}

func (s *story) list(ctx context.Context) ([]string, error) { return list(ctx, s.Bucket) }

func list(ctx context.Context, bucket *blob.Bucket) ([]string, error) {
	var keys []string
	for it := bucket.List(nil); ; {
		object, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			slices.Sort(keys)
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, object.Key)
	}
}
