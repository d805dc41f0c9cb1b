package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

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
