package story

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
	"github.com/strongroom-go/strongroom/tenant"
)

// sealedValue reads a sealed column around the guard.
func (s *story) sealedValue(ctx context.Context) (string, error) {
	name, err := s.stored(ctx, North, s.cast.north.ID, "name")
	if err != nil {
		return "", err
	}
	if bytes.Contains(name, []byte(s.cast.north.Name)) || len(name) <= len(s.cast.north.Name) {
		return "", errors.New("the column holds the name itself")
	}
	return fmt.Sprintf("patients.name of patient %d, %q, is stored as\n%s", s.cast.north.ID, s.cast.north.Name, wrapHex(name)), nil
}

// sealedTwice shows that equal values of two tenants have nothing in common where they are stored.
func (s *story) sealedTwice(ctx context.Context) (string, error) {
	var lines []string
	for _, column := range []string{"ssn", "ssn_index"} {
		norths, err := s.stored(ctx, North, s.cast.sharedNorth.ID, column)
		if err != nil {
			return "", err
		}
		souths, err := s.stored(ctx, South, s.cast.sharedSouth.ID, column)
		if err != nil {
			return "", err
		}
		if len(norths) < 8 || bytes.Equal(norths, souths) {
			return "", fmt.Errorf("one SSN at two clinics has the same patients.%s", column)
		}
		lines = append(lines, fmt.Sprintf("%-10s North %s…  South %s…", column, hex.EncodeToString(norths[len(norths)-8:]), hex.EncodeToString(souths[len(souths)-8:])))
	}
	return "one SSN at two clinics has different ciphertexts, and different blind indexes:\n" + strings.Join(lines, "\n"), nil
}

// stored returns a column of one row as it is in the database.
func (s *story) stored(ctx context.Context, clinic tenant.ID, id int64, column string) ([]byte, error) {
	var b []byte
	err := s.RawDB.QueryRowContext(ctx, s.raw("SELECT "+column+" FROM patients WHERE tenant_id = $1 AND id = $2"), clinic.String(), id).Scan(&b)
	return b, err
}

// sealedObject reads an object around the guard.
func (s *story) sealedObject(ctx context.Context) (string, error) {
	key := objectName(North)
	b, err := s.RawBucket.ReadAll(ctx, key)
	if err != nil {
		return "", err
	}
	if len(b) <= data.ScanSize || bytes.Contains(b, []byte(data.ScanMarker(North.String()))) {
		return "", errors.New("the object holds the scan itself")
	}
	return fmt.Sprintf("%s is stored as %s, which begins\n%s", scanKey, key, wrapHex(b[:32])), nil
}

// objectName is where a clinic's scan is in the inner bucket: under the tenant's prefix.
func objectName(clinic tenant.ID) string { return clinic.Segment() + "/" + scanKey }

func wrapHex(b []byte) string {
	var lines []string
	for text := hex.EncodeToString(b); text != ""; {
		n := min(72, len(text))
		lines, text = append(lines, text[:n]), text[n:]
	}
	return strings.Join(lines, "\n")
}
