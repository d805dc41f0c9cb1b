package audit

import "syscall"

// mountTiny mounts a memory file system of 256 KiB, which takes a privilege that few test runs have.
func mountTiny(dir string) error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k") }

func unmount(dir string) { syscall.Unmount(dir, 0) }
