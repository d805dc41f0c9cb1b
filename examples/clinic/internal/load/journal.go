// Package load drives clinics as their people do, and writes down each request and what was answered, for somebody else to
// hold the databases and the trail against.
package load

import (
	"encoding/json"
	"io"
	"sync"
)

// Entry is one request of the journal: a line of JSON. What stands in it is invented, so it may be kept in the clear.
type Entry struct {
	Request string `json:"request"` // the id that the trail has
	Clinic  string `json:"clinic"`
	Op      string `json:"op"`     // admit, visit, scan, upload, read, foreign or named
	Status  int    `json:"status"` // of the answer; 0 where there was none
	Patient string `json:"patient"`
	ID      string `json:"id,omitempty"`   // of the visit or scan
	Name    string `json:"name,omitempty"` // what was stored, sealed
	Text    string `json:"text,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of a scan's content
	Size    int    `json:"size,omitempty"`
}

// The operations. What was acknowledged has the status beside each; another status, or none, says that it may have taken place.
const (
	Admit   = "admit"   // 201: a patient with a visit, in one transaction
	Visit   = "visit"   // 201: one more
	Scan    = "scan"    // 201: a row, and a token
	Upload  = "upload"  // 201: the object; in the trail under the request of the scan
	Read    = "read"    // 200: a patient with visits and scans
	Foreign = "foreign" // 404: a patient of the other clinic's, by the id alone
	Named   = "named"   // 403: the same by a link that names the other clinic
)

// journal is written by all clients at once.
type journal struct {
	mu sync.Mutex
	to *json.Encoder
}

func newJournal(to io.Writer) *journal { return &journal{to: json.NewEncoder(to)} }

// write fails the run if it fails: what is not in the journal is not accounted for.
func (j *journal) write(e Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.to.Encode(e)
}
