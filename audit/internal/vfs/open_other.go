//go:build !unix

package vfs

const guardedOpen = 0
