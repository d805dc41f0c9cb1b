// Command clinic is a small service of many tenants: clinics with patients, visits and scans, as an application developer would
// write it on Strongroom. README.md shows what to look at.
//
//	go run ./examples/clinic                    # by itself: SQLite, files, a temporary directory
//	go run ./examples/clinic -dir clinic-data   # the same, kept
//	docker compose -f examples/clinic/compose.yaml up    # three instances on PostgreSQL, Vault and S3
//
// The command in the directory otel is the same with OpenTelemetry's SDK.
package main

import (
	"os"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/service"
)

func main() { os.Exit(service.Main(nil)) }
