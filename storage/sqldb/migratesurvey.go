package sqldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/tenant"
)

// surveyor reads what is there.
type surveyor struct {
	*migrator
	*pgReader
	plan   *migration
	notes  []string
	tables map[string]*migrateTable
	found  map[string][]surveyColumn
	again  bool // before the switch: the migration's own triggers are there
}

type surveyColumn struct {
	name, typ, base, def  string // base is the type's own name
	notNull, generated    bool
	marked, usedGenerated bool
}

// survey reads the tables as they are and makes the plan.
func (g *migrator) survey(ctx context.Context) (*migration, []Problem, []string, error) {
	s := &surveyor{migrator: g, plan: &migration{Declared: g.declaration()}, tables: map[string]*migrateTable{}, found: map[string][]surveyColumn{}}
	s.pgReader = &pgReader{ctx: ctx, conn: g.conn, options: g.Options, declared: g.Schema, tables: map[string]*pgTable{}}
	for _, step := range []func() error{s.readServer, s.readTables, s.readShapes, s.readTriggers, s.readRules, s.readViews, s.columnsOf, s.tenantColumns, s.keysOf, s.foreignOf, s.checksOf, s.privileges, s.grantsOf} {
		if err := step(); err != nil {
			return nil, nil, nil, migrateErr("reading PostgreSQL's catalog", err)
		}
	}
	for _, name := range sortedKeys(s.tables) {
		s.plan.Tables = append(s.plan.Tables, s.tables[name])
	}
	if len(s.problems) == 0 {
		if err := s.countTenants(ctx); err != nil {
			return nil, nil, nil, err
		}
	}
	return s.plan, s.problems, s.notes, nil
}

// readShapes refuses what a migration does not know how to move, and notes sizes.
func (s *surveyor) readShapes() error {
	return s.each(`SELECT d.name, c.relkind = 'p' OR c.relispartition OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)),
			pg_get_userbyid(c.relowner), c.relowner = (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user), greatest(c.reltuples, 0)::bigint, c.relrowsecurity, c.relforcerowsecurity
		FROM declared d JOIN pg_class c ON c.oid = d.oid`, func(rows pgx.Rows) error {
		t := &migrateTable{}
		var family, mine bool
		var owner string
		if err := rows.Scan(&t.Name, &family, &owner, &mine, &t.Rows, &t.RLS, &t.Force); err != nil {
			return err
		}
		if s.declared[t.Name].Shared {
			return nil
		}
		t.Schema, t.Relation = s.options.place(t.Name)
		t.Table = quote(t.Schema) + "." + quote(t.Relation)
		if family {
			s.problem(t.Name, "", "it is partitioned, or inherits: Migrate does not move such tables", "move its rows into an ordinary table, or migrate by hand")
		}
		if !mine {
			s.problem(t.Name, "", "the connecting role does not own it", "connect as "+quote(owner))
		}
		if t.RLS {
			s.problem(t.Name, "", "row-level security is on: the migration would not see all rows", "ALTER TABLE "+t.Table+" DISABLE ROW LEVEL SECURITY /* the guard's own comes with the switch */")
		}
		s.tables[t.Name] = t
		return nil
	})
}

// readViews finds views, which would go on to show plaintexts, with their owner's rights.
func (s *surveyor) readViews() error {
	err := s.each(`SELECT DISTINCT f.declared, v.oid::regclass::text FROM family f
		JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = f.oid AND p.classid = 'pg_rewrite'::regclass
		JOIN pg_rewrite w ON w.oid = p.objid JOIN pg_class v ON v.oid = w.ev_class WHERE v.relkind IN ('v', 'm') ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, view string
		if err := rows.Scan(&table, &view); err != nil {
			return err
		}
		s.problem(table, "", "the view "+view+" reads it, past row-level security, and would go on to read the plaintexts", "DROP VIEW "+view+" /* and put its query into the statements */")
		return nil
	})
	if err != nil {
		return err
	}
	// A function whose body is parsed when it is made (BEGIN ATOMIC) knows a column by its number, whatever it is called by then.
	return s.each(`SELECT DISTINCT f.declared, r.oid::regprocedure::text FROM family f
		JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = f.oid AND p.classid = 'pg_proc'::regclass
		JOIN pg_proc r ON r.oid = p.objid WHERE r.prosecdef ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, function string
		if err := rows.Scan(&table, &function); err != nil {
			return err
		}
		s.problem(table, "", "the function "+function+" reads it with its owner's rights, and would go on to read the plaintexts", "DROP FUNCTION "+function+" /* and put its query into the statements */")
		return nil
	})
}

// plaintexts are the types whose values are those of a logical type, and how they are read.
var plaintexts = map[envelope.Logical]map[string]string{
	envelope.Text:    {"text": "%s::text", "varchar": "%s::text", "bpchar": "format('%%s', %s)", "citext": "%s::text"},
	envelope.Bytes:   {"bytea": "%s::bytea"},
	envelope.Int:     {"int2": "%s::int8", "int4": "%s::int8", "int8": "%s::int8"},
	envelope.Float:   {"float4": "%s::float8", "float8": "%s::float8"},
	envelope.Bool:    {"bool": "%s::bool"},
	envelope.Time:    {"timestamptz": "%s::timestamptz", "timestamp": "(%s AT TIME ZONE 'UTC')"},
	envelope.Date:    {"date": "%s::date"},
	envelope.Numeric: {"numeric": "%s::text", "int2": "%s::text", "int4": "%s::text", "int8": "%s::text"},
	envelope.JSON:    {"json": "%s::text", "jsonb": "%s::text"},
	envelope.UUID:    {"uuid": "%s::text"},
}

func (s *surveyor) columnsOf() error {
	err := s.each(`SELECT d.name, a.attname, format_type(a.atttypid, NULL), coalesce(b.typname, y.typname), a.attnotnull, a.attgenerated <> '' OR a.attidentity = 'a',
			coalesce(pg_get_expr(x.adbin, x.adrelid), ''),
			EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = d.oid AND starts_with(k.conname, $4) AND k.conkey = ARRAY[a.attnum]),
			EXISTS (SELECT FROM pg_depend p JOIN pg_attrdef e ON p.classid = 'pg_attrdef'::regclass AND e.oid = p.objid
			        JOIN pg_attribute o ON o.attrelid = e.adrelid AND o.attnum = e.adnum AND o.attgenerated <> ''
			        WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = d.oid AND p.refobjsubid = a.attnum AND o.attnum <> a.attnum)
		FROM declared d JOIN pg_attribute a ON a.attrelid = d.oid JOIN pg_type y ON y.oid = a.atttypid
		LEFT JOIN pg_type b ON y.typtype = 'd' AND b.oid = y.typbasetype
		LEFT JOIN pg_attrdef x ON x.adrelid = d.oid AND x.adnum = a.attnum
		WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY d.name, a.attnum`, func(rows pgx.Rows) error {
		var table string
		var c surveyColumn
		if err := rows.Scan(&table, &c.name, &c.typ, &c.base, &c.notNull, &c.generated, &c.def, &c.marked, &c.usedGenerated); err != nil {
			return err
		}
		s.found[table] = append(s.found[table], c)
		return nil
	}, sealedMark)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(s.tables) {
		s.sealedColumns(s.tables[name])
	}
	return nil
}

func (s *surveyor) column(table, name string) *surveyColumn {
	i := slices.IndexFunc(s.found[table], func(c surveyColumn) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &s.found[table][i]
}

func (s *surveyor) sealedColumns(t *migrateTable) {
	decl := s.declared[t.Name]
	var gone []string
	for _, name := range sortedKeys(decl.Sealed) {
		d, c := decl.Sealed[name], s.column(t.Name, name)
		switch {
		case c == nil:
			t.Added = append(t.Added, name)
		case c.marked && c.base == "bytea": // sealed already
		case plaintexts[d.logical][c.base] == "":
			s.problem(t.Name, name, fmt.Sprintf("the column has type %s, of which the values are none of the declared type", c.typ), "declare it with the type that it has, or change the type first")
		case c.generated:
			s.problem(t.Name, name, "the column is generated, and the guard is to write it", "make it an ordinary column: ALTER TABLE "+t.Table+" ALTER COLUMN "+quote(name)+" DROP EXPRESSION")
		case c.usedGenerated:
			s.problem(t.Name, name, "a generated column is computed of it, and would keep what it holds in the clear", "drop the generated column")
		default:
			m := migrateColumn{Name: name, New: markName("strongroom_new_", name), Old: markName(asideMark, name), Type: c.typ, NotNull: c.notNull, Default: c.def}
			m.Value = fmt.Sprintf(plaintexts[d.logical][c.base], rowAlias+"."+quote(name))
			if c.typ == "character" { // which is one character long, as a cast
				m.Type = padded
			}
			if d.searchable {
				m.Index = d.index
			}
			gone = append(gone, name)
			t.Columns = append(t.Columns, m)
			if c.base == "timestamp" {
				s.notes = append(s.notes, fmt.Sprintf("%s.%s has no time zone: its times are taken to be UTC's", t.Name, name))
			}
			if c.def != "" {
				s.notes = append(s.notes, fmt.Sprintf("%s.%s has a default, which a sealed column cannot have: the application must give the value after the switch", t.Name, name))
			}
		}
		if d.searchable {
			t.Indexes = append(t.Indexes, migrateIndex{Column: d.index, Name: indexName(t.Relation, d.index)})
			if c := s.column(t.Name, d.index); c != nil {
				s.problem(t.Name, d.index, "there is a column of the name that the blind index is to have", "declare the index under another name, or drop the column")
			}
		}
	}
	for _, c := range s.found[t.Name] {
		if strings.HasPrefix(c.name, asideMark) || strings.HasPrefix(c.name, "strongroom_new_") {
			s.problem(t.Name, c.name, "the column's name is one of a migration's own", "rename or drop it")
		}
		if !slices.Contains(gone, c.name) {
			t.Plain = append(t.Plain, c.name)
		}
	}
}

// tenantColumns finds out how each table's tenant column is filled.
func (s *surveyor) tenantColumns() error {
	for _, name := range sortedKeys(s.tables) {
		t, decl := s.tables[name], s.declared[name]
		t.Tenant = migrateTenant{Column: decl.TenantColumn, Type: decl.tenantType()}
		c, source := s.column(name, decl.TenantColumn), s.Tenants[name]
		switch {
		case c != nil && source.column != "" && source.column != decl.TenantColumn || c != nil && (len(source.parent) > 0 || !source.constant.IsZero()):
			s.problem(name, decl.TenantColumn, "the table has the tenant column, and another source is named for it", "name none, or another TenantColumn")
		case c == nil && s.sourceless(source):
			s.problem(name, decl.TenantColumn, "the table has no tenant column, and nothing says whose its rows are", "name it in Migration.Tenants")
		case c == nil:
			t.Tenant.Add = true
		case c.base != "text" && c.base != "varchar" && !castsTenant(c.typ):
			s.problem(name, c.name, "the tenant column has type "+c.typ+", which may compare different ids as equal", "name another TenantColumn, and this one as its source")
		case c.generated:
			s.problem(name, c.name, "the tenant column is generated, and the guard is to write it", "make it an ordinary column first")
		default:
			t.Tenant.NotNull, t.Tenant.Type = c.notNull, c.typ
			t.Tenant.Of = rowAlias + "." + quote(c.name)
		}
	}
	return nil
}

func (s *surveyor) sourceless(t TenantSource) bool {
	return t.column == "" && len(t.parent) == 0 && t.constant.IsZero()
}

// surveyKey is a foreign key as the catalog has it.
type surveyKey struct {
	table, name, def, parent     string
	declared, full, defer_, wait bool
	onDelete, onUpdate           string
	columns, parentColumns, sets []string
}

func (s *surveyor) foreignKeys() ([]surveyKey, error) {
	var out []surveyKey
	err := s.each(`SELECT d.name, k.conname, pg_get_constraintdef(k.oid), coalesce(p.name, k.confrelid::regclass::text), p.name IS NOT NULL, k.confmatchtype = 'f', k.condeferrable, k.condeferred,
			k.confdeltype::text, k.confupdtype::text,
			ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(num, ord) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.ord),
			ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(num, ord) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.ord),
			ARRAY(SELECT a.attname::text FROM unnest(k.confdelsetcols) AS u(num) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num)
		FROM declared d JOIN pg_constraint k ON k.conrelid = d.oid AND k.contype = 'f' LEFT JOIN declared p ON p.oid = k.confrelid ORDER BY d.name, k.conname`, func(rows pgx.Rows) error {
		var k surveyKey
		if err := rows.Scan(&k.table, &k.name, &k.def, &k.parent, &k.declared, &k.full, &k.defer_, &k.wait, &k.onDelete, &k.onUpdate, &k.columns, &k.parentColumns, &k.sets); err != nil {
			return err
		}
		out = append(out, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A foreign key of a table that is not declared rests on a key that is to go.
	return out, s.each(`SELECT d.name, k.conname, k.conrelid::regclass::text FROM declared d JOIN pg_constraint k ON k.confrelid = d.oid AND k.contype = 'f'
		WHERE k.conrelid NOT IN (SELECT oid FROM declared) ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, name, child string
		if err := rows.Scan(&table, &name, &child); err != nil {
			return err
		}
		s.problem(table, "", fmt.Sprintf("the foreign key %s of %s, which is not declared, refers to it", name, child), "declare "+child+", or drop the foreign key")
		return nil
	})
}

// countTenants counts the rows of each tenant, and finds those that are nobody's.
func (s *surveyor) countTenants(ctx context.Context) error {
	status := map[tenant.ID]keys.Status{}
	for listed, err := range s.Guard.Keys.Tenants(ctx) {
		if err != nil && listed.ID.IsZero() {
			return err
		}
		status[listed.ID] = listed.Status
	}
	for _, t := range s.plan.Tables {
		of := t.Tenant.of("r")
		rows, err := s.migrator.conn.Query(ctx, fmt.Sprintf(`SELECT (%s)::text, count(*) FROM %s r GROUP BY 1 ORDER BY 1`, of, t.Table))
		if err != nil {
			return migrateErr("counting the rows of "+t.Name, err)
		}
		var unknown, strange, idle, total int64
		var named []string
		for rows.Next() {
			var text *string
			var n int64
			if err := rows.Scan(&text, &n); err != nil {
				rows.Close()
				return migrateErr("counting the rows of "+t.Name, err)
			}
			if total += n; text == nil {
				unknown += n
				continue
			}
			id, err := tenant.Parse(*text)
			switch {
			case err != nil:
				strange += n
			case status[id] != keys.StatusActive:
				if idle += n; len(named) < 10 {
					named = append(named, id.String())
				}
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return migrateErr("counting the rows of "+t.Name, err)
		}
		t.Rows = total
		look := fmt.Sprintf("look at them: SELECT * FROM %s r WHERE (%s)", t.Table, of)
		if unknown > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("the tenant of %d rows cannot be told", unknown), look+" IS NULL; give them one, or delete them")
		}
		if strange > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("what %d rows give for their tenant is no tenant's id (see tenant.Parse)", strange), fmt.Sprintf("look at them: SELECT DISTINCT (%s) FROM %s r; name another source", of, t.Table))
		}
		if idle > 0 {
			s.problem(t.Name, t.Tenant.Column, fmt.Sprintf("%d rows belong to tenants that are not provisioned, or not active: %s", idle, strings.Join(named, ", ")), "provision them with Keyring.Provision, or delete their rows")
		}
	}
	return nil
}

func (s *surveyor) checksOf() error {
	err := s.each(`SELECT d.name, k.conname, k.contype::text, pg_get_constraintdef(k.oid),
			ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = d.oid AND a.attnum = ANY (k.conkey))
		FROM declared d JOIN pg_constraint k ON k.conrelid = d.oid AND k.contype IN ('c', 'x') ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, kind string
		var def migrateDef
		var columns []string
		if err := rows.Scan(&table, &def.Name, &kind, &def.Def, &columns); err != nil {
			return err
		}
		t := s.tables[table]
		switch {
		case t == nil:
		case kind == "x":
			s.problem(table, "", "the exclusion constraint "+def.Name+" may compare rows of different tenants", "drop it; the guard cannot check its operators")
		case slices.ContainsFunc(t.Columns, func(c migrateColumn) bool { return slices.Contains(columns, c.Name) }):
			t.Checks = append(t.Checks, def)
			s.notes = append(s.notes, fmt.Sprintf("%s: the constraint %s is over values that will be sealed, and goes with the switch: the application has to check that itself", table, def.Name))
		}
		return nil
	})
	return err
}

// privileges finds those on single columns of tables with plaintexts, which would follow them out of reach, and those for which
// Open refuses a role; and triggers that come after the migration's own, which would not see what they change.
func (s *surveyor) privileges() error {
	err := s.each(`SELECT d.name, a.attname, EXISTS (SELECT FROM aclexplode(a.attacl) x WHERE x.privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE'))
		FROM declared d JOIN pg_attribute a ON a.attrelid = d.oid WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL ORDER BY 1, a.attnum`, func(rows pgx.Rows) error {
		var table, column string
		var excessive bool
		if err := rows.Scan(&table, &column, &excessive); err != nil {
			return err
		}
		switch t := s.tables[table]; {
		case t == nil:
		case len(t.Columns) > 0:
			s.problem(table, column, "there are privileges on the column alone, which would let others at plaintexts that are kept aside", "REVOKE them, and GRANT what is needed on the table")
		case excessive && !s.options.InsecureWithoutRLS:
			s.problem(table, column, "there are privileges on the column alone that row-level security does not bind, for which Open refuses a role", "REVOKE REFERENCES ("+quote(column)+") ON "+t.Table+" FROM whoever has it")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.each(`SELECT d.name, g.tgname FROM declared d JOIN pg_trigger g ON g.tgrelid = d.oid WHERE NOT g.tgisinternal AND g.tgname::text COLLATE "C" >= $4 AND NOT ($5 AND g.tgname = $4) ORDER BY 1, 2`, func(rows pgx.Rows) error {
		var table, trigger string
		if err := rows.Scan(&table, &trigger); err != nil {
			return err
		}
		s.problem(table, "", "the trigger "+trigger+" would fire after the migration's own, which has to see what is stored", "ALTER TRIGGER "+quote(trigger)+" ON "+s.check(table).qualified()+" RENAME TO one that sorts before ~")
		return nil
	}, lastTrigger, s.again)
}

// grantsOf reads who may read and write the table as a whole, which after a switch is for the columns without the plaintexts,
// and who may do to it what row-level security does not bind, which ends there.
func (s *surveyor) grantsOf() error {
	err := s.each(`SELECT d.name, a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, a.is_grantable
		FROM declared d JOIN pg_class c ON c.oid = d.oid, aclexplode(c.relacl) a
		WHERE a.grantee <> c.relowner AND a.privilege_type <> 'DELETE' ORDER BY 1, 3, 2`, func(rows pgx.Rows) error {
		var table string
		var grant migrateGrant
		if err := rows.Scan(&table, &grant.Privilege, &grant.Grantee, &grant.Grantable); err != nil {
			return err
		}
		switch t := s.tables[table]; {
		case t == nil:
		case grant.excessive() && !s.options.InsecureWithoutRLS:
			t.Grants = append(t.Grants, grant)
			s.notes = append(s.notes, fmt.Sprintf("%s: %s has %s, which row-level security does not bind: the switch takes it away, and only a rollback gives it back", table, grant.Grantee, grant.Privilege))
		case len(t.Columns) > 0 && slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "TRIGGER"}, grant.Privilege):
			t.Grants = append(t.Grants, grant)
		}
		return nil
	})
	if err != nil || s.options.InsecureWithoutRLS {
		return err
	}
	return s.each(`SELECT DISTINCT d.name, s.oid::regclass::text, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
		FROM declared d JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = d.oid AND p.classid = 'pg_class'::regclass AND p.deptype IN ('a', 'i')
		JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S', aclexplode(s.relacl) a
		WHERE a.grantee <> s.relowner AND a.privilege_type NOT IN ('USAGE', 'SELECT') ORDER BY 1, 2, 3`, func(rows pgx.Rows) error {
		var table, sequence, grantee string
		if err := rows.Scan(&table, &sequence, &grantee); err != nil {
			return err
		}
		s.notes = append(s.notes, fmt.Sprintf("%[1]s: %[3]s may set the sequence %[2]s, for which Open refuses a role: GRANT USAGE ON SEQUENCE %[2]s TO %[3]s; REVOKE UPDATE ON SEQUENCE %[2]s FROM %[3]s", table, sequence, grantee))
		return nil
	})
}

// parentTenant is the tenant column of a table that a foreign key refers to.
func (s *surveyor) parentTenant(parent string) string {
	return cmp.Or(s.declared[parent].TenantColumn, s.options.TenantColumn)
}
