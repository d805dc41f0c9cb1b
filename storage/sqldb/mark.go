package sqldb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/storage/dialect"
)

// A sealed column bears a mark in the database: a CHECK constraint, of a name that tells what it is, which refuses what is not
// an envelope of the column's type. So a raw handle, an older program and one whose schema forgets the column cannot store
// plaintexts in it, and the last is found out when it opens the database. The names' beginnings are kept for that.
const (
	sealedMark = "strongroom_sealed_"
	indexMark  = "strongroom_index_"
)

// sealCheck is the constraint of one column.
type sealCheck struct {
	name, column string
	logical      envelope.Logical // 0 for a blind index
}

// Checks returns the constraints that a table of this declaration has beside those of the application's own, in the form that
// CREATE TABLE takes: each sealed column holds envelopes of its type, and each index column index values. [Schema.DDL] adds
// them to a table that exists; on SQLite, which cannot do that for a column that exists, write them into CREATE TABLE.
func (t Table) Checks(d dialect.Dialect) []string {
	var out []string
	for _, c := range t.checks() {
		out = append(out, c.definition(d))
	}
	return out
}

// WithChecks adds the constraints of a declared table's sealed columns ([Table.Checks]) to the CREATE TABLE statement that makes it,
// which has to end in its closing parenthesis. Every other statement is returned as it is.
func (s Schema) WithChecks(d dialect.Dialect, statement string) string {
	trimmed := strings.TrimRight(statement, " \t\r\n;")
	of := createTable.FindStringSubmatch(trimmed)
	if of == nil {
		return statement
	}
	checks := s[strings.ReplaceAll(of[1], `"`, "")].Checks(d)
	if len(checks) == 0 {
		return statement
	}
	return strings.TrimSuffix(trimmed, ")") + ", " + strings.Join(checks, ", ") + ")"
}

var createTable = regexp.MustCompile(`(?is)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w."]+)\s*\(.*\)$`)

func (t Table) checks() []sealCheck {
	var out []sealCheck
	for _, column := range sortedKeys(t.Sealed) {
		c := t.Sealed[column]
		out = append(out, sealCheck{markName(sealedMark, column), column, c.logical})
		if c.searchable {
			out = append(out, sealCheck{markName(indexMark, c.index), c.index, 0})
		}
	}
	return out
}

// markName keeps within PostgreSQL's limit. A name that had to be shortened ends in a hash, so that two columns that begin
// alike have different ones.
func markName(prefix, column string) string {
	name := prefix + column
	if len(name) <= maxIdentifier {
		return name
	}
	sum := sha256.Sum256([]byte(column))
	return strings.ToValidUTF8(name[:maxIdentifier-9], "") + "_" + hex.EncodeToString(sum[:4])
}

func isMark(constraint string) bool {
	return strings.HasPrefix(constraint, sealedMark) || strings.HasPrefix(constraint, indexMark)
}

// definition is the constraint as CREATE TABLE, ADD COLUMN and ADD CONSTRAINT take it.
func (c sealCheck) definition(d dialect.Dialect) string {
	return fmt.Sprintf("CONSTRAINT %s CHECK (%s)", quote(c.name), c.condition(d))
}

// condition holds for NULL and for what internal/envelope/FORMAT.md describes: version 1 first, then as many bytes as a value
// of the type makes. The type itself is inside the ciphertext.
func (c sealCheck) condition(d dialect.Dialect) string {
	column, compare, size := quote(c.column), "=", envelope.IndexSize
	if c.logical != 0 {
		compare, size = fieldSize(c.logical)
	}
	if d == dialect.SQLite {
		blob := fmt.Sprintf("%[1]s IS NULL OR typeof(%[1]s) = 'blob' AND length(%[1]s) %[2]s %[3]d", column, compare, size)
		if c.logical == 0 {
			return blob
		}
		return blob + fmt.Sprintf(" AND substr(%s, 1, 1) = x'01'", column)
	}
	if c.logical == 0 {
		return fmt.Sprintf("octet_length(%s) %s %d", column, compare, size)
	}
	return fmt.Sprintf("octet_length(%[1]s) %[2]s %[3]d AND get_byte(%[1]s, 0) = 1", column, compare, size)
}

// fieldSize is how long the envelopes of a type are: exactly, or at least.
func fieldSize(l envelope.Logical) (compare string, size int) {
	body, exact := envelope.BodySize(l)
	if exact {
		return "=", envelope.FieldOverhead + body
	}
	return ">=", envelope.FieldOverhead + body
}

// printed is the constraint as PostgreSQL prints it.
func (c sealCheck) printed() string {
	column := quote(c.column)
	if c.logical == 0 {
		return fmt.Sprintf("CHECK ((octet_length(%s) = %d))", column, envelope.IndexSize)
	}
	compare, size := fieldSize(c.logical)
	return fmt.Sprintf("CHECK (((octet_length(%[1]s) %[2]s %[3]d) AND (get_byte(%[1]s, 0) = 1)))", column, compare, size)
}

// add is how the owner of a PostgreSQL table gives it the constraint. It holds for new rows at once, and does not keep others
// from the table while those that exist are read.
func (c sealCheck) add(table string) string {
	return fmt.Sprintf("ALTER TABLE %[1]s DROP CONSTRAINT IF EXISTS %[2]s, ADD %[3]s NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT %[2]s",
		table, quote(c.name), c.definition(dialect.PostgreSQL))
}

// addWhereSealed adds the constraint to a column of ciphertexts, or leaves the column as it is, with a warning, where it holds
// something else: a program that still writes plaintexts goes on.
func (c sealCheck) addWhereSealed(table string) string {
	plain := warn("the column " + quote(c.column) + " of " + table + " holds what is not sealed, and stays as it is: see sqldb.Open, which says how to replace it, or sqldb.Migrate")
	return doBlock(fmt.Sprintf("IF (SELECT a.atttypid = 'pg_catalog.bytea'::pg_catalog.regtype FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s::pg_catalog.regclass AND a.attname = %s) "+
		"THEN ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s, ADD %s; ELSE %[6]s; END IF; EXCEPTION WHEN check_violation THEN %[6]s;",
		literal(table), literal(c.column), table, quote(c.name), c.definition(dialect.PostgreSQL), plain))
}

// mark is a constraint that was found under a mark's name.
type mark struct {
	column    string
	intact    func(sealCheck) bool
	validated bool
}

// marks holds the marks that a table bears against those that its declaration asks for.
func (c *tableCheck) marks(found map[string]mark, add func(sealCheck) string) {
	wanted := make(map[string]bool)
	for _, w := range c.decl.checks() {
		wanted[w.name] = true
		m, ok := found[w.name]
		switch {
		case !ok && c.dialect == dialect.SQLite && !c.has(w.column): // what adds the column adds the constraint
		case !ok:
			c.problem(w.column, "nothing in the database keeps out of the column what is not sealed: the constraint "+w.name+" is missing", add(w))
		case !m.intact(w):
			c.problem(w.column, "the constraint "+w.name+" is not as the guard needs it for a column of this type", add(w))
		case !m.validated:
			c.problem(w.column, "the constraint "+w.name+" is not validated: rows from before may hold what is not sealed",
				fmt.Sprintf("ALTER TABLE %s VALIDATE CONSTRAINT %s /* after every row's value was written through the guard */", c.qualified(), quote(w.name)))
		}
	}
	for _, name := range sortedKeys(found) {
		if wanted[name] {
			continue
		}
		drop := fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", c.qualified(), quote(name))
		if c.dialect == dialect.SQLite {
			drop = c.rebuild("everything but the constraint " + name)
		}
		c.problem(found[name].column, "the column bears the mark of a sealed or index column, the constraint "+name+", and is not declared as one",
			"declare it in the schema; or, where its values are no longer to be sealed: "+drop)
	}
}

func (c *tableCheck) has(column string) bool {
	for _, have := range c.table.Columns {
		if have.Name == column {
			return true
		}
	}
	return false
}

// ciphertextType is the type of a sealed or index column as ADD COLUMN takes it, on SQLite with the constraint.
func (c *tableCheck) ciphertextType(column string) string {
	if c.dialect != dialect.SQLite {
		return "bytea"
	}
	for _, w := range c.decl.checks() {
		if w.column == column {
			return "BLOB " + w.definition(dialect.SQLite)
		}
	}
	return "BLOB"
}
