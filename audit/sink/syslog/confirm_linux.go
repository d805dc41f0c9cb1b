package syslog

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acknowledged waits until the server's kernel has acknowledged every byte that was sent on a
// connection which the server has closed. One that closes before it has read everything, as when it
// is restarted, answers what it has not read, or what comes later, with a reset: tcp(7), SO_LINGER
// in socket(7).
func acknowledged(ctx context.Context, conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var left, failed int
		var err1, err2 error
		if err := raw.Control(func(fd uintptr) {
			left, err1 = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			// Asked second: where a reset has emptied the queue, this says so.
			failed, err2 = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		}); err != nil {
			return err
		}
		switch err := errors.Join(err1, err2); {
		case err != nil:
			return err
		case failed != 0:
			return syscall.Errno(failed)
		case left == 0:
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
