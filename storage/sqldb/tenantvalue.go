package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/strongroom-go/strongroom/internal/sqlplan"
	"github.com/strongroom-go/strongroom/storage"
)

// checkTenants holds the ids that a statement gives for tenant columns against the tenant that it runs for. Another one is an
// attempt to write into another tenant's room, or a defect that would have: nothing is sent, and an alert is recorded.
func (d *database) checkTenants(ctx context.Context, a *access, args []driver.NamedValue) error {
	for _, t := range a.plan.Tenants {
		v := t.Const
		if t.Caller > 0 {
			v = args[t.Caller-1].Value
		}
		if sameTenant(v, a.id.String()) {
			continue
		}
		column := t.Table + "." + d.catalogs[0].Tables[t.Table].TenantColumn
		err := fmt.Errorf("%w: the value for %s is not the tenant that the statement runs for; leave the column out, the library writes it", storage.ErrIsolation, column)
		if aerr := a.pass.AlertTenant(ctx, column); aerr != nil {
			return errors.Join(err, aerr)
		}
		return err
	}
	return nil
}

// canonicalTenant returns a tenant's id as it is bound for a tenant column of a type. Of a UUID or an integer it must be the
// canonical text: two tenants whose ids are spellings of one value would share their rows.
func canonicalTenant(id string, typ sqlplan.TenantType) (driver.Value, error) {
	switch typ {
	case sqlplan.TenantText:
		return id, nil
	case sqlplan.TenantUUID:
		if u, err := uuid.Parse(id); err == nil && u.String() == id {
			return id, nil
		}
		return nil, errors.New("the tenant column is a uuid, and the tenant's id is not a UUID in its canonical form (lower case, with hyphens)")
	case sqlplan.TenantInteger:
		if i, err := strconv.ParseInt(id, 10, 64); err == nil && strconv.FormatInt(i, 10) == id {
			return i, nil
		}
		return nil, errors.New("the tenant column is an integer, and the tenant's id is not one in its canonical form (decimal, without leading zeros)")
	}
	return nil, errors.New("the plan has a tenant column of an unknown type")
}

// sameTenant tells whether a value is a tenant's id as the database would store it. A UUID has several spellings.
func sameTenant(v any, id string) bool {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	default:
		return false
	}
	if text == id {
		return true
	}
	a, err := uuid.Parse(text)
	if err != nil {
		return false
	}
	b, err := uuid.Parse(id)
	return err == nil && a == b
}
