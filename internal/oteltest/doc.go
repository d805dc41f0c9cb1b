// Package oteltest reads the library's telemetry back through OpenTelemetry's SDK, which the library itself does not depend on:
// what it is called, what it hangs together with, and that it gives nobody away.
package oteltest
