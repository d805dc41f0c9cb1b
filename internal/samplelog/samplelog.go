// Package samplelog writes an audit log such as a service with three clinics has after forty days, for tests of what reads
// logs. It has every kind of event that a reviewer looks for: see [Write].
package samplelog

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/tenant"
)

// Start is when the log begins, and Days how long it goes on.
var Start = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

const Days = 40

// Hostile are texts that an attacker would have a page or a terminal show.
var Hostile = []string{
	`<script>document.title="owned"</script>`, `"><img src=x onerror="document.title='owned'">`, `</td></table></main><h1>forged</h1>`,
	`</script><script>document.title="owned"</script>`, `</style><style>main{display:none}</style>`, `javascript:document.title="owned"`,
	`{{.Title}}`, "\x1b[2J\x1b[1;1Hforged", "\u202egnp.exe", "a\u200bb", "<!--", "]]>", `&lt;b&gt;`, "x\x00y", "  two  spaces  ", "'; DROP TABLE patients; --",
}

// Log is what was written.
type Log struct {
	Dir      string
	Verifier string
	Pin      []byte // the newest checkpoint
	Sealers  map[string]*Keys
}

// Keys are a tenant's, as package keys has them.
type Keys struct {
	prf  *prf.Set
	aead tink.AEAD
}

// Pseudonym implements [audit.Sealer].
func (k *Keys) Pseudonym(actor string) (string, error) {
	out, err := k.prf.ComputePrimaryPRF([]byte(actor), 16)
	return "p-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(out)), err
}

// SealDetails implements [audit.Sealer].
func (k *Keys) SealDetails(details []byte, uid string) ([]byte, error) {
	return k.aead.Encrypt(details, []byte(uid))
}

// OpenDetails implements [audit.Opener].
func (k *Keys) OpenDetails(sealed []byte, uid string) ([]byte, error) {
	return k.aead.Decrypt(sealed, []byte(uid))
}

// NewKeys makes the keys of one tenant.
func NewKeys() (*Keys, error) {
	ph, err1 := keyset.NewHandle(prf.AESCMACPRFKeyTemplate())
	ah, err2 := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	p, err1 := prf.NewPRFSet(ph)
	a, err2 := aead.New(ah)
	return &Keys{p, a}, errors.Join(err1, err2)
}

// writer writes events one after the other, and ends with the first error.
type writer struct {
	log    *audit.Log
	keys   map[string]*Keys
	random *rand.Rand
	err    error
}

func (w *writer) record(e audit.Event) {
	if w.err != nil {
		return
	}
	if k := w.keys[e.Tenant.String()]; k != nil && e.Sealer == nil {
		e.Sealer = k
	}
	w.err = w.log.Record(context.Background(), &e)
}

// access records an access whole, as the gate does.
func (w *writer) access(e audit.Event, rows int64) {
	e.Correlation, e.Phase, e.Status, e.Rows, e.Bytes = uuid.NewString(), audit.Intent, audit.Success, -1, -1
	w.record(e)
	if rows < 0 {
		return // it never came to an end
	}
	e.Phase, e.Rows, e.Time = audit.Outcome, rows, e.Time.Add(20*time.Millisecond)
	if e.Store == "blob" {
		e.Rows, e.Bytes = -1, rows
	}
	w.record(e)
}

func (w *writer) single(e audit.Event) {
	e.Phase, e.Rows, e.Bytes = audit.Single, -1, -1
	w.record(e)
}

// Write makes the log in dir, which must not exist: some 5,000 events, the same each time but for ids and keys. With hostile, some
// have the texts of [Hostile] wherever a caller can put one.
func Write(dir, origin string, hostile bool) (*Log, error) {
	log, err := audit.OpenLog(dir, &audit.Options{Origin: origin, Durability: audit.Written, ReserveBytes: -1, Timeout: time.Minute, SegmentBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	w := &writer{log: log, keys: map[string]*Keys{}, random: rand.New(rand.NewPCG(1, 2))}
	for _, id := range clinics {
		k, err := NewKeys()
		if err != nil {
			return nil, errors.Join(err, log.Close())
		}
		w.keys[id] = k
		w.single(event(id, audit.CodeKeyProvision, "operator", Start))
	}
	for d := range Days {
		w.day(d)
	}
	w.incidents()
	if hostile {
		w.hostile()
	}
	msg, err := log.Checkpoint(context.Background())
	w.err = errors.Join(w.err, err)
	return &Log{dir, log.Verifier(), msg, w.keys}, errors.Join(w.err, log.Close())
}

var clinics = []string{"northside", "lakeview", "harbor"}

var staff = []string{"dr.okafor@example.org", "dr.adams@example.org", "nurse.lind@example.org", "frontdesk@example.org", "billing@example.org"}

func event(id string, code audit.Code, actor string, at time.Time) audit.Event {
	return audit.Event{Code: code, Status: audit.Success, Tenant: tenant.MustParse(id), Actor: actor, Time: at}
}

func query(id, actor, table, purpose string, at time.Time) audit.Event {
	e := event(id, audit.CodeQuery, actor, at)
	e.Store, e.Name, e.Tables, e.Purpose, e.KeyVersion = "postgresql", "clinic", []string{table}, purpose, 77
	e.Columns, e.SealedColumns = []string{table + ".id", table + ".name"}, []string{table + ".name"}
	e.Statement, e.Fingerprint = "SELECT id, name FROM "+table+" WHERE id = $1", "50fde20626009aba"
	e.Request = fmt.Sprintf("req-%x", at.UnixMilli())
	return e
}

// day is what the staff do: less on weekends.
func (w *writer) day(d int) {
	morning := Start.AddDate(0, 0, d).Add(8 * time.Hour)
	quiet := morning.Weekday() == time.Saturday || morning.Weekday() == time.Sunday
	for c, id := range clinics {
		for a, actor := range staff {
			n := 4 + w.random.IntN(6) - c
			if quiet {
				n = w.random.IntN(2)
			}
			for i := range n {
				at := morning.Add(time.Duration(w.random.IntN(9*3600)) * time.Second)
				table, purpose := []string{"patients", "visits", "labs"}[i%3], "treatment"
				if a == 4 {
					table, purpose = "invoices", "billing"
				}
				w.access(query(id, actor, table, purpose, at), int64(1+w.random.IntN(30)))
			}
			if n > 6 {
				e := query(id, actor, "visits", "treatment", morning.Add(9*time.Hour))
				e.Code, e.Statement = audit.CodeExec, "UPDATE visits SET note = $1 WHERE id = $2"
				w.access(e, 1)
			}
		}
		if !quiet {
			e := event(id, audit.CodeBlobRead, staff[0], morning.Add(2*time.Hour))
			e.Store, e.Name, e.Purpose, e.Details = "blob", "scans", "treatment", map[string]string{"key": "mri/7.dcm"}
			w.access(e, 120_000)
		}
	}
}

// incidents are what a report is for.
func (w *writer) incidents() {
	at := func(day, hour int) time.Time { return Start.AddDate(0, 0, day).Add(time.Duration(hour) * time.Hour) }
	// One that reads much more than usual, one who was never here before, and one who looks at what is not theirs to look at.
	for i := range 12 {
		w.access(query("lakeview", staff[2], "patients", "treatment", at(38, 22).Add(time.Duration(i)*time.Minute)), 400)
	}
	for i := range 4 {
		w.access(query("harbor", "temp.17@example.org", "patients", "audit", at(39, 9).Add(time.Duration(i)*time.Minute)), 12)
	}
	w.access(query("northside", staff[4], "labs", "billing", at(37, 16)), 3)
	// A statement over two tables, one that fails, a transaction that is rolled back, and an access that never ended.
	join := query("northside", staff[1], "patients", "research", at(20, 10))
	join.Tables = []string{"patients", "visits"}
	w.access(join, 40)
	failed := query("northside", staff[1], "patients", "treatment", at(20, 11))
	failed.Phase, failed.Status, failed.Rows, failed.Reason = audit.Outcome, audit.Failure, 0, "the database refused"
	w.record(failed)
	for _, code := range []audit.Code{audit.CodeCommit, audit.CodeRollback} {
		e := event("northside", code, staff[1], at(20, 12))
		e.Store, e.Name, e.Transaction = "postgresql", "clinic", uuid.NewString()
		w.access(e, 0)
	}
	w.access(query("harbor", staff[0], "visits", "treatment", at(39, 17)), -1)
	// Denials: at another tenant's data, which is two events, and others.
	for i := range 3 {
		e := query("northside", staff[3], "patients", "treatment", at(30+i, 13))
		e.Status, e.Reason = audit.Denied, "cross-tenant"
		w.single(e)
		e.Tenant, e.Actor, e.Sealer = tenant.MustParse("harbor"), "", w.keys["harbor"]
		w.single(e)
	}
	e := query("lakeview", staff[3], "labs", "curiosity", at(25, 15))
	e.Status, e.Reason = audit.Denied, "unauthorized"
	w.single(e)
	e.Tenant, e.Reason, e.Time = tenant.MustParse("invented"), "no such tenant", at(26, 3)
	e.Sealer = nil
	w.single(e)
	// Alerts.
	alert := query("lakeview", staff[1], "patients", "treatment", at(33, 4))
	alert.Code, alert.Status, alert.Reason = audit.CodeIsolation, audit.Failure, "a value did not open"
	w.single(alert)
	// The keys' life.
	for i, code := range []audit.Code{audit.CodeKeyRotate, audit.CodeKeySuspend, audit.CodeKeyResume, audit.CodeKeyReveal, audit.CodeKeyExport, audit.CodeKeyStale,
		audit.CodeKeyDisable, audit.CodeKeyEnable, audit.CodeKeyDestroy} {
		e := event("harbor", code, "operator", at(28, 6+i))
		if code == audit.CodeKeyReveal {
			e.Details = map[string]string{"reason": "complaint 7"}
		}
		w.single(e)
	}
	for i, code := range []audit.Code{audit.CodeOffboard, audit.CodeBlobOffboard} {
		e := event("harbor", code, "operator", at(29, 6+i))
		e.Store, e.Name = []string{"postgresql", "blob"}[i], "clinic"
		w.access(e, 3)
	}
	w.single(event("harbor", audit.CodeKeyShred, "operator", at(39, 23)))
	for _, code := range []audit.Code{audit.CodeReseal, audit.CodeBlobReseal} {
		e := event("northside", code, "operator", at(31, 2))
		e.Store, e.Name = "postgresql", "clinic"
		w.access(e, 200)
	}
	for i, code := range []audit.Code{audit.CodeBlobWrite, audit.CodeBlobDelete, audit.CodeBlobList, audit.CodeBlobGrant, audit.CodeBlobCopy, audit.CodeBlobAttributes, audit.CodeBlobSource} {
		e := event("northside", code, staff[0], at(36, 8+i))
		e.Store, e.Name, e.Purpose = "blob", "scans", "treatment"
		w.access(e, 900)
	}
}

// hostile puts each text wherever a caller can put one.
func (w *writer) hostile() {
	for i, text := range Hostile {
		at := Start.AddDate(0, 0, Days).Add(time.Duration(i) * time.Minute)
		e := query("northside", text, text, text, at)
		e.Name, e.Request, e.Statement, e.Fingerprint, e.Details = text, text, text, text, map[string]string{"key": text}
		w.access(e, 5)
		e.Status, e.Reason = audit.Denied, text
		w.single(e)
		e.Code, e.Status = audit.CodeIsolation, audit.Failure
		w.single(e)
	}
}
