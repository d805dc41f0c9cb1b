package sqlcases

import (
	_ "embed"
	"fmt"
	"strings"
	"time"
)

//go:embed schema.sql
var schema string

//go:embed indexes.sql
var indexes string

//go:embed fill.sql
var fill string

// Data says what the tables hold. It is the same for the same values, whoever shares the tables.
type Data struct {
	Rows    int // of each table, of all tenants together; a multiple of their number
	Tenants []string
	Now     time.Time // when each tenant's last row was made
}

// Shared returns the script that makes the tables which the tenants share, and fills them.
func (d Data) Shared() string { return d.script(schema, indexes) }

// Alone returns the script that makes the same tables with one tenant's rows, as an application that has no other would
// have them. The tenant column is there and is the tenant by default.
func (d Data) Alone(tenant string) string {
	own := Data{Rows: d.Rows / len(d.Tenants), Tenants: []string{tenant}, Now: d.Now}
	tables := strings.NewReplacer("PRIMARY KEY (tenant_id, id)", "PRIMARY KEY (id), UNIQUE (tenant_id, id)",
		`COLLATE "C" NOT NULL`, `COLLATE "C" NOT NULL DEFAULT `+quote(tenant))
	return own.script(tables.Replace(schema), strings.ReplaceAll(indexes, "(tenant_id, ", "("))
}

func (d Data) script(schema, indexes string) string {
	quoted := make([]string, len(d.Tenants))
	for i, t := range d.Tenants {
		quoted[i] = quote(t)
	}
	values := strings.NewReplacer(":rows", fmt.Sprint(d.Rows), ":tenants", "ARRAY["+strings.Join(quoted, ", ")+"]",
		":now", "timestamptz "+quote(d.Now.Format(time.RFC3339)))
	// Indexes are made faster over rows that are there, and with memory.
	return schema + values.Replace(fill) + "SET maintenance_work_mem = '256MB';\n" + indexes + "RESET maintenance_work_mem;\nANALYZE;\n"
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
