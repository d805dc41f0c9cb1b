package story

import (
	"context"

	"github.com/strongroom-go/strongroom/keys"
)

// suspendReason is for reviewers of South's. It is sealed in the audit trail.
const suspendReason = "the contract with the hospital has ended"

func (s *story) suspend(ctx context.Context) (string, error) {
	if err := s.query(s.south(ctx), "SELECT name FROM patients"); err != nil {
		return "", err
	}
	if err := s.Keys.Suspend(s.south(ctx), South, suspendReason); err != nil {
		return "", err
	}
	err := s.query(s.south(ctx), "SELECT name FROM patients")
	if err := s.expectError(err, keys.ErrSuspended); err != nil {
		return "", err
	}
	return "South's next query is refused\n" + s.lastRefusal(), nil
}

func (s *story) suspendedObject(ctx context.Context) (string, error) {
	_, err := s.Bucket.ReadAll(s.south(ctx), scanKey)
	return "and so is its scan", s.expectError(err, keys.ErrSuspended)
}

func (s *story) othersGoOn(ctx context.Context) (string, error) {
	var name string
	if err := s.DB.QueryRowContext(s.north(ctx), "SELECT name FROM patients WHERE ssn = $1", s.cast.north.SSN.V).Scan(&name); err != nil {
		return "", err
	}
	if _, err := s.Bucket.ReadAll(s.north(ctx), scanKey); err != nil {
		return "", err
	}
	return "North goes on", expect("the name", name, s.cast.north.Name)
}
