// Command keyctl is the operators' tool for tenants' keys: it makes, lists, rotates, suspends and destroys them, moves
// stored values to newer keys and existing applications' databases in, and says what is wrong with an installation.
//
//	keyctl init -config keyctl.json
//	keyctl provision acme
//	keyctl suspend -reason "ticket 4711" acme
//	keyctl shred -reason "contract ended" acme
//
// "keyctl -h" lists the commands, "keyctl COMMAND -h" shows a command's flags and examples, and "keyctl init -h" describes
// the configuration. Flags may have one dash or two, and stand before or behind arguments.
//
// # What it keeps to
//
// Every command that changes something is recorded in the tool's own audit trail before it does: what the keyring and the
// stores record, in the name of -actor or of the operating system's user, with -reason sealed. Commands that only look open
// no trail. Whatever was interrupted, by a signal or a crash, is completed by the same command once more.
//
// What cannot be undone wants the tenant's name, or of a migration the database's, typed again on a terminal, or -yes and
// -confirm where there is none. Where another tenant of the store has a name that looks alike, a tag that tells them apart
// has to follow the name.
//
// Secrets are read from files and from the environment, never from the command line, and are never printed. Texts that
// could command a terminal are printed as Go's escapes.
//
// # Output
//
// With -json each line on standard output is one JSON object in ASCII, of the shapes below, and an error is one on standard
// error: {"error": "...", "class": "..."}. Shapes may gain members, and lose none. Classes are usage, config, findings,
// not-confirmed, suspended, shredded, not-shredded, not-provisioned, not-found, key-needed, key-disabled, integrity,
// tampered, audit-unavailable, unavailable, conflict, interrupted and error.
//
//	init        {"command", "done"}
//	list        a line for each tenant: {"tenant", "status"} or {"tenant", "error"}
//	status      {"tenant", "status"}, with -keys "keys": [{"purpose", "key", "status"}]
//	provision, suspend, resume
//	            {"command", "tenant", "status"}
//	rotate      {"command", "tenant", "purpose", "key"}; with -kek the purpose is kek, and there is no key
//	rewrap      {"command", "tenant"}; with -all a tenant that failed is {"command", "tenant", "error", "class"}, and the
//	            last line {"command", "done", "failed"}
//	retire      {"command", "tenant", "provider"}
//	reseal      for each database {"command", "tenant", "database", "dryRun", "resealed", "reindexed",
//	            "left": [{"table", "column", "purpose", "key", "values"}], "duplicates": [{"table", "key"}]}; with -all as rewrap
//	            and for each bucket {"command", "tenant", "bucket", "dryRun", "resealed", "bytes",
//	            "left": [{"purpose", "key", "objects"}]}
//	migrate     plan, and run before what it does: {"command", "action", "database", "stage", "tables": [{"table", "rows"}],
//	            "problems": [{"table", "column", "what", "fix"}], "notes", "steps": [{"stage", "table", "sql", "lock", "rows"}]},
//	            whose action is plan; run and rollback: {"command", "action", "database", "stage", "tenanted", "sealed",
//	            "verified", "unsealed", "lockedMs", "rows": [{"table", "tenant", "rows"}], "notes"}; status: {"command",
//	            "action", "database", "stage", "opens", "problems"}. A stage is empty before the beginning
//	versions    {"tenant", "keys": [{"purpose", "key", "status"}]}; after a change {"command", "tenant", "purpose", "key",
//	            "status"}, which is disabled, opens or destroyed
//	offboard    {"command", "tenant", "dryRun", "certificate", "shreddedBefore", "keys",
//	            "databases": [{"name", "tables": [{"table", "rows"}]}], "buckets": [{"name", "objects", "bytes"}]}, and
//	            "shared" as shred
//	kek         {"command", "action", "key", "oldest", "newest"}, whose action is show, create, rotate or destroy, and with the
//	            last {"tenants", "rewrapped"}
//	certificate the certificate, as storage/offboard has it
//	doctor      for each finding {"check", "level", "what", "fix"}, whose level is ok, warning or problem, and at last
//	            {"command", "problems", "warnings"}
//	shred       {"command", "tenant", "status", "at", "keys": [{"purpose", "key"}], "tried"}, and where tenants share a
//	            key-encryption key "shared": [{"name", "through", "destroyed"}]
//
// Exit status: 0 when all is well; 1 when a command looked and found what is not, damaged or tampered data included; 2 when
// the command line or the configuration is wrong, or something was refused or could not be done; 130 when it was interrupted.
package main
