package audit

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/tenant"
)

// tenantState is what a log knows of one tenant's events, or (for the zero ID) of its own. The queue is guarded by
// Log.mu; all else is the writer's.
type tenantState struct {
	id       tenant.ID
	queue    queue
	assigned int64    // the newest sequence number given out
	tree     frontier // over the tenant's numbered events; its size is the newest sequence number on the disk
	covered  int64    // the tree's size at the newest head leaf
	due      bool     // it waits for a head leaf
	shared   bool     // the tree's nodes are in a state that is being encoded, or was
	noted    int64    // one more than the first index of the segment whose summary has it
}

// add adds an event to the tree.
func (t *tenantState) add(leaf tlog.Hash) {
	if t.shared {
		t.tree, t.shared = t.tree.clone(), false
	}
	t.tree.add(leaf)
}

// uncovered is how many events stand behind the newest head leaf. The log's own events have none.
func (t *tenantState) uncovered() int64 {
	if t.id.IsZero() {
		return 0
	}
	return t.tree.size - t.covered
}
