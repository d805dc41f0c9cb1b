// Package natstest has recorders and a sealer of audit/natslog work with a JetStream cluster of
// three nodes, which are processes of the real server: they are killed, frozen and cut off from
// each other. It is a module of its own so that the library does not depend on the server.
package natstest
