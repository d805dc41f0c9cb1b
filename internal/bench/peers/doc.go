// Package peers compares sealed objects with github.com/minio/sio, a streaming AEAD format (DARE 2.0) with packages of
// 64 KiB that can be read by ranges, over the same store in memory. It is a module of its own, so that what it compares
// with is nobody's dependency:
//
//	cd internal/bench/peers && go test -bench . -count 7
package peers
