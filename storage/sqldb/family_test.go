package sqldb_test

import (
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/sqldb"
)

// A partition, or a child, holds rows of its parent's. Where both are declared, it is scoped as its parent is: as shared reference
// data, or by another column, it would show other tenants' rows.
func TestPartitionsAreScopedAsTheirParent(t *testing.T) {
	raw, dsn, _ := newRaw(t, dialect.PostgreSQL)
	mustExec(t, raw, `
		CREATE TABLE wards (clinic text COLLATE "C" NOT NULL, author text COLLATE "C" NOT NULL, id bigint NOT NULL, PRIMARY KEY (clinic, author, id)) PARTITION BY RANGE (id);
		CREATE TABLE wards_1 PARTITION OF wards FOR VALUES FROM (0) TO (1000)`)
	for _, c := range []struct {
		parent, child sqldb.Table
		problem       string
	}{
		{sqldb.Table{TenantColumn: "clinic"}, sqldb.Table{Shared: true}, "wards_1: the table holds rows of wards and is declared shared"},
		{sqldb.Table{Shared: true}, sqldb.Table{TenantColumn: "clinic"}, "wards: the table is declared shared and reading it reads the rows of wards_1"},
		{sqldb.Table{TenantColumn: "clinic"}, sqldb.Table{TenantColumn: "author"}, "wards_1.author: the table holds rows of wards, whose tenant column is clinic"},
		{sqldb.Table{TenantColumn: "clinic"}, sqldb.Table{TenantColumn: "clinic"}, ""},
	} {
		err := openErr(t, dsn, sqldb.Schema{"wards": c.parent, "wards_1": c.child}, &sqldb.Options{InsecureWithoutRLS: true})
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
