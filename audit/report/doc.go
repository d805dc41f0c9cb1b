// Package report writes what an audit log shows as one HTML file: for a reviewer who would rather look at a page than read lines.
//
// [Write] takes events as [audit.ReadVerified] returns them, and what [audit.Verify] found of the logs that they are from:
//
//	verified, err := audit.Verify(ctx, dir, opts)
//	events := audit.ReadVerified(ctx, []*audit.Report{verified}, nil)
//	err = report.Write(w, events, &report.Options{Logs: []report.Log{{Report: verified, Err: err}}})
//
// The page loads nothing from anywhere and runs one script of its own, which filters tables; it says so in a content
// security policy with the script's hash, and is complete without it. Texts of events may come from an attacker: they are escaped, cut
// at 120 characters, and characters that are invisible or turn the text's direction are shown as their number.
//
// # Sizes
//
// Events are counted as they are read and not kept, so that memory and page are bounded for a log of any length: some 100 MiB
// and 2 MiB with the default [Limits]. Totals are exact. Where a table does not show all, it says how many it leaves out.
//
// # What is counted
//
// An access is what released or changed something: the outcome of a statement or of an operation on an object. Rows and bytes
// are those of outcomes. What a transaction wrote counts although it was rolled back later. A statement over several tables counts for each of them in
// the matrix, and once in the totals. A denial is an event with the status denied, of which an access of another tenant's data has two.
// An alert is an event of severity high or more.
//
// First-seen pairs are an actor of a tenant, or an actor and a table of a tenant, in accesses that succeeded, with no such access before in what was read. With
// Filter.Since, events before it are read for that and shown nowhere; without, what comes in the last quarter of the time is new.
//
// Unusual volumes: the rows that an actor read on one day (UTC) have the modified z-score of Iglewicz and Hoaglin ("How to
// Detect and Handle Outliers", 1993), 0.6745 (x − median) / MAD, above 3.5; where MAD, the median absolute deviation, is 0, it is
// (x − median) / (1.253314 × the mean absolute deviation). They are compared with the actor's other days on which rows were
// read where there are 8 or more days, else with all actors' days of the tenant, and not at all where those are less than 8. Below 100 rows nothing is unusual.
package report
