//go:build unix

package vfs

import "syscall"

// guardedOpen keeps an open from waiting for a pipe's other end and from following a symbolic link.
const guardedOpen = syscall.O_NONBLOCK | syscall.O_NOFOLLOW
