// Package interop shows that what is sealed under a tenant's keysets is Tink's: the archived github.com/google/tink/go
// v1.7.0 and github.com/tink-crypto/tink-go/v2, which the library uses, read each other's ciphertexts and keysets, for each
// purpose.
package interop
