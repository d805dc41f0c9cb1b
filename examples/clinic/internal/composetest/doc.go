// Package composetest holds the clinic's compose file and Dockerfile against the programs that they start, and starts them where Docker
// Compose is there. It is a module of its own because it reads YAML, which the library does not.
package composetest
