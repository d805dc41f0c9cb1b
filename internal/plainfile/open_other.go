//go:build !unix

package plainfile

const guardedOpen = 0
