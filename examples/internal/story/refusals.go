package story

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/storage/sqldb"
	"github.com/strongroom-go/strongroom/tenant"
)

func (s *story) noTenant(ctx context.Context) (string, error) {
	const query = "SELECT name FROM patients"
	err := s.query(ctx, query)
	if err := s.expectError(err, tenant.ErrMissing); err != nil {
		return "", err
	}
	if _, berr := s.Bucket.ReadAll(ctx, scanKey); !errors.Is(berr, tenant.ErrMissing) {
		return "", fmt.Errorf("the bucket without a tenant: %w", errors.Join(berr, errOpen(berr)))
	}
	return "no tenant in the context\n" + s.lastRefusal(), nil
}

func (s *story) ddl(ctx context.Context) (string, error) { return s.refuse(ctx, "DROP TABLE patients") }

func (s *story) unknownTable(ctx context.Context) (string, error) {
	return s.refuse(ctx, "SELECT * FROM pg_authid")
}

// secretBound is what a careless developer wrote into the SQL. It must not come back in the error.
const secretBound = "1947-11-03"

func (s *story) sealedRange(ctx context.Context) (string, error) {
	return s.refuse(ctx, "SELECT id FROM patients WHERE born < '"+secretBound+"'")
}

// refuse expects a statement to be refused before it reaches the database.
func (s *story) refuse(ctx context.Context, query string) (string, error) {
	err := s.query(s.north(ctx), query)
	var refused *sqldb.RefusedError
	if !errors.As(err, &refused) {
		return "", fmt.Errorf("%s was not refused: %w", query, errors.Join(err, errOpen(err)))
	}
	if refused.Reason == "" || refused.Hint == "" {
		return "", fmt.Errorf("%s was refused without a reason or a hint: %w", query, err)
	}
	s.refused = append(s.refused, err.Error())
	return query + "\n" + s.lastRefusal(), nil
}

func (s *story) query(ctx context.Context, query string, args ...any) error {
	rows, err := s.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() { // to the end: what does not open is found when its row is read
	}
	return errors.Join(rows.Err(), rows.Close())
}

// errorsAreDiscreet looks for data in the texts of all errors so far.
func (s *story) errorsAreDiscreet(context.Context) (string, error) {
	secrets := append(s.secrets(), secretBound)
	for _, text := range s.refused {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				return "", errors.New("an error's text holds a patient's data")
			}
		}
	}
	return fmt.Sprintf("none of %d error texts holds a value, a literal or a name of a patient", len(s.refused)), nil
}
