package main

import (
	"fmt"
	"os"
	"sync"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

// runDir is the directory that all of a run's are in.
var runDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "strongroom-bench-")
	if err == nil {
		testenv.AtInterrupt(func() { removeRunDir(dir) })
	}
	return dir, err
})

// tempDir makes a directory. What makes it removes it; where the run is interrupted it goes with all others, for it may hold a file of
// key-encryption keys.
func tempDir() (string, error) {
	dir, err := runDir()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, "")
}

// attempts is how often a directory is removed in which others still make files.
const attempts = 100

func removeRunDir(dir string) {
	var err error
	for range attempts {
		if err = os.RemoveAll(dir); err == nil {
			return
		}
	}
	fmt.Fprintln(os.Stderr, "bench: remove it by hand:", err)
}
