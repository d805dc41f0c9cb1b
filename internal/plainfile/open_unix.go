//go:build unix

package plainfile

import "syscall"

// guardedOpen keeps an open from waiting for a pipe's other end.
const guardedOpen = syscall.O_NONBLOCK
