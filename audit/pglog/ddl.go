package pglog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DefaultTable is the table's name where none is given.
const DefaultTable = "strongroom_audit"

// Tables are the names of what the package keeps in a database.
type table struct {
	rows   string // quoted, with its schema where one is given
	sealer string // of the table that says which log seals the rows
	unique string // the constraints' names, unquoted
	number string
	schema string // quoted; "" for none
	plain  string // for people
}

// maxTableName leaves room for what is put behind it in the names of constraints.
const maxTableName = 50

// parseTable takes a table's name, or a schema's and a table's with a dot between.
func parseTable(name string) (t table, err error) {
	if name == "" {
		name = DefaultTable
	}
	parts := strings.Split(name, ".")
	for _, p := range parts {
		if p == "" || len(p) > maxTableName || strings.ContainsFunc(p, func(r rune) bool { return r < 0x20 || r == '"' || r > 0x7e }) {
			return t, fmt.Errorf("pglog: the table's name is unusable; give table or schema.table, each of 1 to %d printable ASCII characters without quotation marks", maxTableName)
		}
	}
	if len(parts) > 2 {
		return t, errors.New("pglog: the table's name has more than one dot; give table or schema.table")
	}
	last := parts[len(parts)-1]
	with := func(suffix string) string {
		id := append(pgx.Identifier{}, parts...)
		id[len(id)-1] += suffix
		return id.Sanitize()
	}
	t = table{rows: with(""), sealer: with("_sealer"), unique: last + "_uid", number: last + "_number", plain: name}
	if len(parts) == 2 {
		t.schema = pgx.Identifier{parts[0]}.Sanitize()
	}
	return t, nil
}

// Roles are the roles that a table's statements grant rights to. Both must exist, and none be the table's owner or another that
// has more rights.
type Roles struct {
	Recorder string // of the service's processes: may insert, and nothing else
	Sealer   string // of the sealer: may read and delete, and mark what it refuses
}

// DDL returns the statements that make the table for a trail ("" for [DefaultTable]; a schema before a dot must exist) and
// grant its two roles what they need. Their owner runs them once; they begin and end a transaction.
func DDL(name string, roles Roles) (string, error) {
	t, err := parseTable(name)
	if err != nil {
		return "", err
	}
	for _, r := range []string{roles.Recorder, roles.Sealer} {
		if r == "" || len(r) > 63 || strings.ContainsRune(r, 0) {
			return "", errors.New("pglog: a role's name is unusable; give Roles.Recorder and Roles.Sealer")
		}
	}
	if roles.Recorder == roles.Sealer {
		return "", errors.New("pglog: Roles.Recorder and Roles.Sealer are the same role; a recorder must not be able to read or delete what it wrote")
	}
	quote := func(s string) string { return pgx.Identifier{s}.Sanitize() }
	usage := ""
	if t.schema != "" {
		usage = "GRANT USAGE ON SCHEMA {schema} TO {recorder}, {sealer};\n"
	}
	return strings.NewReplacer("{rows}", t.rows, "{owner}", t.sealer, "{unique}", quote(t.unique), "{number}", quote(t.number), "{schema}", t.schema,
		"{recorder}", quote(roles.Recorder), "{sealer}", quote(roles.Sealer)).Replace(`BEGIN;
-- The events of all streams that are not sealed yet: see the package documentation of audit/pglog.
CREATE TABLE {rows} (
	uid     uuid   CONSTRAINT {unique} PRIMARY KEY,
	stream  uuid   NOT NULL,
	number  bigint NOT NULL CHECK (number > 0),
	batch   bigint NOT NULL CHECK (batch >= 0),
	line    bytea  NOT NULL CHECK (octet_length(line) BETWEEN 2 AND 2097152),
	key     bigint NOT NULL CHECK (key BETWEEN 0 AND 4294967295),
	mac     bytea  NOT NULL CHECK (octet_length(mac) = 32),
	refused boolean NOT NULL DEFAULT false,
	CONSTRAINT {number} UNIQUE (stream, number)
);
-- The one log into which they are sealed, by its public key.
CREATE TABLE {owner} (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	verifier text NOT NULL,
	since    timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON {rows}, {owner} FROM PUBLIC, {recorder}, {sealer};
GRANT INSERT (uid, stream, number, batch, line, key, mac) ON {rows} TO {recorder};
GRANT SELECT, DELETE, UPDATE (refused) ON {rows} TO {sealer};
GRANT SELECT, INSERT ON {owner} TO {sealer};
` + usage + `COMMIT;
`), nil
}
