package main

import "context"

// telemetry is where traces and metrics are set up: providers of OpenTelemetry, whose exporters the environment chooses. The
// example has none, and the library needs none. What it returns is called when the service ends, behind all
// else, the trail included.
func telemetry(context.Context) (shutdown func(context.Context) error, err error) {
	return func(context.Context) error { return nil }, nil
}
