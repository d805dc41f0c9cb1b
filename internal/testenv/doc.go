// Package testenv starts the real servers the tests run against, PostgreSQL, Vault and (in package s3env) an S3 server,
// in containers, and is imported by tests only. Each server is started when it is first asked for and shared by all
// tests of the process; what a test needs for itself (a database, a mount, a bucket) it makes there, under a name of
// its own.
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		db := testenv.Postgres(t).NewDatabase(t)
//		...
//	}
//
// A test that seals a Vault, speaks TLS to it or kills a node of a cluster has servers of its own ([OwnVault],
// [VaultCluster]).
//
// Without a container engine, or without an image, the test is skipped with a message that says what to do;
// STRONGROOM_CONTAINERS=required makes that a failure. A server that was started and does not work always is one.
//
// PostgreSQL is version 17. STRONGROOM_POSTGRES=15 makes it the oldest version that is supported, in an image of its own
// (STRONGROOM_POSTGRES15_IMAGE), so that the same tests run against both; those of newer syntax look at
// [PostgresServer].Major.
//
// Images: STRONGROOM_POSTGRES_IMAGE, STRONGROOM_VAULT_IMAGE and STRONGROOM_S3_IMAGE, or else the public images in
// images/defaults; images/build makes them where no image registry can be reached. An image that is not on the
// machine is pulled, without credentials, once. On a machine that is itself a container, tell testcontainers where
// published ports appear (TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1); where its clean-up image cannot be had, set
// TESTCONTAINERS_RYUK_DISABLED=true: the containers are removed anyway.
//
// Containers are started by testcontainers in a program of a module of its own, in the directory containers, so that
// neither the library nor its users depend on it. This package runs the program from its source (`go run`, from the
// build cache but for the first time) when the first server is asked for, and talks with it over its standard input
// and output. When its input ends it removes every container that it started: [Main] closes it, and so does whatever
// ends the process, a SIGKILL too.
//
// The servers hold no secrets, speak plaintext on the loopback interface (but for an OwnVault with TLS) and are tuned
// for throw-away data (PostgreSQL runs with fsync off).
package testenv
