// Package archtest holds the tests of the module's structure: which way imports point, and what library code may not do.
package archtest
