// Package alltenants does work that is no request of one tenant's: jobs for every tenant, reports over all, migrations of data.
//
// There is no access to several tenants at once. A [Job] goes through the tenants one by one, and what it does for each is an access of that
// tenant's, planned, authorized and recorded with the job's own actor and purpose:
//
//	job := alltenants.Job{Keys: ring, Actor: "cron", Purpose: "retention", Parallel: 8}
//	report, err := job.ForEach(ctx, func(ctx context.Context, id tenant.ID) error {
//		_, err := db.ExecContext(ctx, `DELETE FROM visits WHERE at < now() - interval '10 years'`)
//		return err
//	})
//
// [Job.Query] reads one statement's rows for every tenant, in the order of the tenants' ids, each row with its tenant:
//
//	for row, err := range job.Query(ctx, db, `SELECT count(*) FROM visits`) {
//		if err != nil {
//			return err
//		}
//		var visits int
//		if err := row.Scan(&visits); err != nil { … }
//		fmt.Println(row.Tenant, visits)
//	}
//
// An outbox is emptied by workers that do not wait for each other, each message once it is delivered (PostgreSQL):
//
//	report, err := job.ForEach(ctx, func(ctx context.Context, id tenant.ID) error {
//		tx, err := db.BeginTx(ctx, nil)
//		if err != nil {
//			return err
//		}
//		defer tx.Rollback()
//		rows, err := tx.QueryContext(ctx, `SELECT id, message FROM outbox ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED`)
//		// deliver each, then DELETE FROM outbox WHERE id = ANY ($1)
//		return tx.Commit()
//	})
//
// Neither can be begun from a tenant's request: a context with an access is refused ([ErrInRequest]), so that no handler shows
// a tenant what is the others'. Nor are the tenants one moment: each is read or changed when its turn comes.
package alltenants
