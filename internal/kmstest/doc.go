// Package kmstest runs package kmskek with Tink's clients of AWS KMS and Google Cloud KMS, whose dependencies the library
// does not have. What answers them is in memory, and speaks their protocols: AWS's as its SDK has it, Google's over gRPC and
// over HTTP.
package kmstest
