package pglog

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/internal/redact"
)

// describe returns a driver's error without what a server repeats of a statement's values or a driver of a connection
// string, and says what to do where that is known.
func describe(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return redact.Error(err)
	}
	remedy := map[string]string{
		"42P01": "the table is missing: run the statements of pglog.DDL",
		"42703": "the table is not as pglog.DDL makes it",
		"42501": "the role has not the rights that pglog.DDL grants",
		"28P01": "the password is wrong",
		"28000": "the server does not admit the role; see its pg_hba.conf",
		"3D000": "the database does not exist",
		"53100": "the server's disk is full",
		"53300": "the server has too many connections",
		"25006": "the server is a standby: name all servers in the connection string, with target_session_attrs=read-write",
		"57P01": "the server shuts down, or somebody ended the session",
		"57P02": "the server crashed",
		"57P03": "the server is starting or stopping",
		"57014": "somebody cancelled the statement, or its time is limited",
	}[pg.Code]
	if remedy == "" {
		return fmt.Errorf("the server answered SQLSTATE %s", pg.Code)
	}
	return fmt.Errorf("the server answered SQLSTATE %s: %s", pg.Code, remedy)
}
