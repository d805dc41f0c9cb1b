// Package wire is what a test process and the program in containers, which starts containers for it, say to each other:
// JSON-RPC over the program's standard input and output. The program is a module of its own, and has this file as a
// copy (containers/wire.go), so that the library does not have its dependencies, nor it the library's.
package wire

import "time"

// Spec is a container to be started.
type Spec struct {
	Image    string
	Variable string // the environment variable that would name another image

	Port       string            // the one that is published, such as "5432/tcp"
	Env        map[string]string // in the container
	Entrypoint []string          // empty for the image's
	Cmd        []string
	Files      map[string][]byte // by path in the container
	Tmpfs      map[string]string // options by path
	Host       string            // the name by which the container reaches this machine, empty if it need not

	Ready   Ready
	Timeout time.Duration // of the start, until it is ready
}

// Ready is how a container is known to be ready. One is given.
type Ready struct {
	HTTP string // a path that is answered with 200
	SQL  string // a PostgreSQL URL that can be connected to, whose host is replaced by the published address
	Log  string // a line of its output
}

// Started is the answer to the method Start.
type Started struct {
	Missing *Missing // it was not started, for a reason that lies in this machine

	ID      string
	Address string // host:port at which Port is published
	Inside  string // the address among containers, without a port
}

// Missing says that a container cannot run on this machine as it is, and what would change that.
type Missing struct {
	What, Remedy, Err string
}

// File is a file in a container, the argument of the method Sum, which answers with its SHA-256.
type File struct {
	ID, Path string
}

// Names of the methods.
const (
	Ping  = "Containers.Ping"  // struct{} → struct{}: the program runs
	Start = "Containers.Start" // Spec → Started
	Kill  = "Containers.Kill"  // a container's ID → struct{}
	Sum   = "Containers.Sum"   // File → []byte
)
