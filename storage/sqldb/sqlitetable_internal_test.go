package sqldb

import (
	"fmt"
	"testing"
)

// TestParseSQLiteTable: everything that CREATE TABLE can have in it is told apart.
func TestParseSQLiteTable(t *testing.T) {
	got, err := parseSQLiteTable("CREATE TABLE \"a \"\"b\" (\n id INTEGER CONSTRAINT pk PRIMARY KEY ASC ON CONFLICT FAIL AUTOINCREMENT, -- a comment, with (\n" +
		" [the name] VARCHAR(40, 2) COLLATE nocase NOT NULL ON CONFLICT IGNORE DEFAULT -1.5e-3 UNIQUE, `x` DOUBLE PRECISION DEFAULT (1 + (2)) CHECK (x > 1 AND 'a,)' <> ''), \"unique\", 'text' TEXT DEFAULT 'it''s'," +
		" up TEXT GENERATED ALWAYS AS (upper(text)) STORED, low AS (lower(text)), p INT REFERENCES p (q) ON DELETE SET NULL ON UPDATE NO ACTION NOT DEFERRABLE INITIALLY IMMEDIATE NOT NULL, n NULL DEFAULT CURRENT_TIMESTAMP," +
		" PRIMARY KEY (id COLLATE binary DESC, \"the name\") ON CONFLICT ROLLBACK UNIQUE (x), CONSTRAINT f FOREIGN KEY (x, n) REFERENCES \"q\" ON DELETE CASCADE MATCH SIMPLE DEFERRABLE INITIALLY DEFERRED CHECK (x <> n)) STRICT, WITHOUT ROWID")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`id "INTEGER" [primary key pk {PRIMARY KEY ASC ON CONFLICT FAIL AUTOINCREMENT} [] ON CONFLICT FAIL true]`,
		`the name "VARCHAR(40, 2)" [collate  {COLLATE nocase} []  false] [not null  {NOT NULL ON CONFLICT IGNORE} []  false] [default  {DEFAULT -1.5e-3} []  false] [unique  {UNIQUE} []  false]`,
		`x "DOUBLE PRECISION" [default  {DEFAULT (1 + (2))} []  false] [check  {CHECK (x > 1 AND 'a,)' <> '')} []  false]`,
		`unique ""`,
		`text "TEXT" [default  {DEFAULT 'it''s'} []  false]`,
		`up "TEXT" [as  {GENERATED ALWAYS AS (upper(text)) STORED} []  false]`,
		`low "" [as  {AS (lower(text))} []  false]`,
		`p "INT" [foreign key  {REFERENCES p (q) ON DELETE SET NULL ON UPDATE NO ACTION NOT DEFERRABLE INITIALLY IMMEDIATE} []  false] [not null  {NOT NULL} []  false]`,
		`n "" [null  {NULL} []  false] [default  {DEFAULT CURRENT_TIMESTAMP} []  false]`,
		`table "" [primary key  {PRIMARY KEY (id COLLATE binary DESC, "the name") ON CONFLICT ROLLBACK} [id COLLATE binary DESC "the name"] ON CONFLICT ROLLBACK false]` +
			` [unique  {UNIQUE (x)} [x]  false] [foreign key f {FOREIGN KEY (x, n) REFERENCES "q" ON DELETE CASCADE MATCH SIMPLE DEFERRABLE INITIALLY DEFERRED} []  false] [check  {CHECK (x <> n)} []  false]`,
	}
	for i, c := range append(got.columns, sqliteColumn{name: "table", constraints: got.constraints}) {
		text := fmt.Sprintf("%s %q", c.name, c.typ)
		for _, k := range c.constraints {
			text += fmt.Sprintf(" [%s %s {%s} %v %s %v]", k.kind, k.name, k.text, k.parts, k.conflict, k.numbers)
		}
		if i >= len(want) || text != want[i] {
			t.Errorf("%d: %s", i, text)
		}
	}
	foreign, other := got.columns[7].constraints[0], got.constraints[2]
	if foreign.parent != "p" || foreign.onDelete != "set null" || foreign.onUpdate != "no action" || foreign.deferrable || fmt.Sprint(foreign.parentColumns) != "[q]" {
		t.Errorf("%+v", foreign)
	}
	if other.parent != "q" || other.onDelete != "cascade" || !other.deferrable || other.parentColumns != nil || fmt.Sprint(other.columns) != "[x n]" || other.wait != "DEFERRABLE INITIALLY DEFERRED" {
		t.Errorf("%+v", other)
	}
	if !got.withoutRow || got.options != "STRICT, WITHOUT ROWID" {
		t.Errorf("%q %v", got.options, got.withoutRow)
	}
	for _, bad := range []string{"", "CREATE TABLE", "CREATE TABLE t", "CREATE TABLE t (", "CREATE TABLE t (a", "CREATE TABLE t (a))", "CREATE TABLE t (a) WHAT", "CREATE TABLE t (a FOO BAR CHECK)", "CREATE VIRTUAL TABLE t USING fts5 (a)",
		"CREATE TABLE t (a CHECK (", "CREATE TABLE t (a DEFAULT", "CREATE TABLE t (a, FOREIGN KEY (a))", "CREATE TABLE t (a REFERENCES"} {
		if got, err := parseSQLiteTable(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}
