package alltenants_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/storage/alltenants"
	"github.com/strongroom-go/strongroom/tenant"
)

// A job that cron starts. What it has not done is done by the next run: load and keep are the application's.
func ExampleJob_ForEach() {
	retention := func(ctx context.Context, ring *keys.Keyring, db *sql.DB, load func() tenant.ID, keep func(tenant.ID) error) error {
		job := alltenants.Job{Keys: ring, Actor: "cron", Purpose: "retention", After: load(), Checkpoint: keep}
		report, err := job.ForEach(ctx, func(ctx context.Context, _ tenant.ID) error {
			_, err := db.ExecContext(ctx, `DELETE FROM visits WHERE at < now() - interval '10 years'`)
			return err
		})
		log.Printf("%d tenants done, %d failed", report.Done, report.Failed)
		return err
	}
	_ = retention
}

// A nightly report over all tenants, for people who may see all.
func ExampleJob_Query() {
	report := func(ctx context.Context, ring *keys.Keyring, db *sql.DB) error {
		job := alltenants.Job{Keys: ring, Actor: "reports", Purpose: "billing", Parallel: 8}
		for row, err := range job.Query(ctx, db, `SELECT count(*), sum(cost) FROM visits WHERE at >= $1`, "2026-11-01") {
			if err != nil {
				log.Print(err) // of one tenant; the others follow
				continue
			}
			var visits, cost int64
			if err := row.Scan(&visits, &cost); err != nil {
				return err
			}
			fmt.Println(row.Tenant, visits, cost)
		}
		return ctx.Err()
	}
	_ = report
}
