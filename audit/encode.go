package audit

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/strongroom-go/strongroom/tenant"
)

// Limits of what one event may hold, in bytes; see [Event]. Together with JSON's sixfold escaping they keep lines below
// maxLine, which is what readers of the log accept, and event refuses what exceeds it for any reason.
const (
	maxText    = 1 << 10
	maxNames   = 32 << 10
	maxSQL     = 32 << 10
	maxDetails = 64 << 10
	maxSealed  = 768 << 10
	maxLine    = 2 << 20
)

// sequenceKey ends what encoder.event returns: the sequence number and lineEnd follow. It comes last in the line so
// that everything before it is encoded outside the log's lock.
const (
	sequenceKey = `,"sequence":`
	lineEnd     = "}}\n"
	metadataKey = `,"metadata":{`
)

// encoder writes events as OCSF JSON lines. It is immutable.
type encoder struct {
	app       string // the end of the actor object
	endpoint  string // the src_endpoint member
	eventLog  string // the members of class 1008
	metadata  string // the beginning of the metadata object
	room      int    // bytes that a recorder may add to a line
	now       func() time.Time
	pseudonym func(id tenant.ID, actor string) (string, error)
}

func newEncoder(origin, service string, now func() time.Time, pseudonym func(tenant.ID, string) (string, error)) *encoder {
	name, svc := string(appendString(nil, origin)), string(appendString(nil, service))
	return &encoder{
		app:      `"app_name":` + svc + `}`,
		endpoint: `,"src_endpoint":{"svc_name":` + svc + `}`,
		eventLog: `,"log_name":` + name + `,"log_type_id":2,"log_type":"Application","log_provider":"strongroom"`,
		metadata: metadataKey + `"version":"` + OCSF + `","product":{"name":"Strongroom","vendor_name":"Strongroom"}` +
			`,"log_name":` + name,
		now:       now,
		pseudonym: pseudonym,
	}
}

// event appends e's line as far as [sequenceKey], which is included. The error wraps [ErrUnavailable] and holds nothing
// from e but its code.
func (n *encoder) event(dst []byte, e *Event) ([]byte, error) {
	k, ok := kindOf(e.Code)
	if !ok {
		return nil, fmt.Errorf("%w: the event's code is unknown; use one of the Code constants", ErrUnavailable)
	}
	if err := checkEvent(e); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("%w: no randomness for a %s event: %w", ErrUnavailable, e.Code, err)
	}
	var uidText [36]byte
	uid := appendUUID(uidText[:0], id)
	p, err := n.protect(e, uid)
	if err != nil {
		return nil, err
	}
	dst = n.head(dst, e, k)
	dst = append(dst, `,"actor":{`...)
	if p.pseudonym != "" {
		dst = append(dst, `"user":{"uid":`...)
		dst = appendString(dst, p.pseudonym)
		dst = append(dst, "},"...)
	}
	dst = append(dst, n.app...)
	dst, cut := n.object(dst, e, k)
	dst, cut2 := unmapped(dst, e, p)
	dst = n.meta(dst, e, uid)
	if e.Status == Denied || e.Code == CodeIsolation {
		dst = append(dst, `,"profiles":["security_control"]`...)
	}
	if cut || cut2 || p.missing {
		dst = append(dst, `,"is_truncated":true`...)
	}
	dst = append(dst, sequenceKey...)
	if len(dst)+n.room+tagRoom+20+len(lineEnd) > maxLine {
		return nil, fmt.Errorf("%w: the %s event takes %d bytes in the log, over the limit of %d; record less in it", ErrUnavailable, e.Code, len(dst), maxLine)
	}
	return dst, nil
}

// checkEvent refuses what the format has no place for.
func checkEvent(e *Event) error {
	var what string
	switch {
	case e.Phase != Single && e.Phase != Intent && e.Phase != Outcome:
		what = "Phase is not one of Single, Intent and Outcome"
	case e.Status != Success && e.Status != Failure && e.Status != Denied && e.Status != Unknown:
		what = "Status is not one of Success, Failure, Denied and Unknown"
	case e.Correlation != "" && uuid.Validate(e.Correlation) != nil:
		what = "Correlation is not a UUID"
	case !e.Time.IsZero() && !inCalendar(e.Time):
		what = "Time is not in the years 1 to 9999"
	case e.Rows < -1 || e.Bytes < -1:
		what = "Rows or Bytes is below -1, which stands for unknown"
	default:
		return nil
	}
	return fmt.Errorf("%w: the %s event is malformed: %s", ErrUnavailable, e.Code, what)
}

// head appends what the event is: the attributes common to all classes.
func (n *encoder) head(dst []byte, e *Event, k kind) []byte {
	when := e.Time
	if when.IsZero() {
		when = n.now()
	}
	sev, caption := severity(e)
	dst = append(dst, `{"time":`...)
	dst = strconv.AppendInt(dst, when.UnixMilli(), 10)
	dst = append(dst, `,"class_uid":`...)
	dst = strconv.AppendInt(dst, int64(k.class.uid), 10)
	dst = append(dst, `,"class_name":"`...)
	dst = append(dst, k.class.name...)
	dst = append(dst, `","category_uid":`...)
	dst = strconv.AppendInt(dst, int64(k.class.category), 10)
	dst = append(dst, `,"activity_id":`...)
	dst = strconv.AppendInt(dst, int64(k.activity), 10)
	dst = append(dst, `,"activity_name":"`...)
	dst = append(dst, k.name...)
	dst = append(dst, `","type_uid":`...)
	dst = strconv.AppendInt(dst, int64(k.class.uid*100+k.activity), 10)
	dst = append(dst, `,"severity_id":`...)
	dst = strconv.AppendInt(dst, int64(sev), 10)
	dst = append(dst, `,"severity":"`...)
	dst = append(dst, caption...)
	switch e.Status {
	case Success:
		dst = append(dst, `","status_id":1,"status":"Success","status_code":"`...)
	case Unknown:
		dst = append(dst, `","status_id":0,"status":"Unknown","status_code":"`...)
	default:
		dst = append(dst, `","status_id":2,"status":"Failure","status_code":"`...)
	}
	dst = append(append(dst, e.Status...), '"')
	if e.Reason != "" {
		reason, _ := clip(e.Reason, maxText)
		dst = append(dst, `,"status_detail":`...)
		dst = appendString(dst, reason)
	}
	// The attributes of the security_control profile; event adds its name to metadata.profiles.
	switch {
	case e.Code == CodeIsolation:
		dst = append(dst, `,"action_id":2,"action":"Denied","disposition_id":19,"disposition":"Alert","is_alert":true`...)
	case e.Status == Denied:
		dst = append(dst, `,"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked"`...)
	}
	return dst
}

// object appends what was touched, by class, and whether anything was cut.
func (n *encoder) object(dst []byte, e *Event, k kind) ([]byte, bool) {
	switch k.class.uid {
	case 1008:
		return append(dst, n.eventLog...), false
	case 3004:
		dst = append(dst, `,"entity":{"name":"tenant keyset","type_id":99,"type":"Keyset"`...)
		if !e.Tenant.IsZero() {
			dst = append(dst, `,"uid":`...)
			dst = appendString(dst, e.Tenant.String())
		}
		if e.KeyVersion != 0 {
			dst = append(dst, `,"version":"`...)
			dst = strconv.AppendUint(dst, uint64(e.KeyVersion), 10)
			dst = append(dst, '"')
		}
		return append(dst, '}'), false
	}
	name, cut := clip(e.Name, maxText)
	if name == "" {
		name = "unnamed" // OCSF wants a name or a uid
	}
	dst = append(dst, n.endpoint...)
	if e.Store == "blob" {
		dst = append(dst, `,"type_id":2,"type":"Databucket","databucket":{"type_id":99,"type":"blob","name":`...)
		return append(appendString(dst, name), '}'), cut
	}
	dst = append(dst, `,"type_id":1,"type":"Database","database":{"type_id":1,"type":"Relational","name":`...)
	dst = append(appendString(dst, name), '}')
	if len(e.Tables) > 0 { // OCSF has room for one; unmapped has them all
		table, cutTable := clip(e.Tables[0], maxText)
		dst = append(appendString(append(dst, `,"table":{"name":`...), table), '}')
		cut = cut || cutTable
	}
	return dst, cut
}

// unmapped appends what OCSF has no attribute for, and whether anything was cut.
func unmapped(dst []byte, e *Event, p private) (_ []byte, cut bool) {
	text := func(key, s string, limit int) {
		if s == "" {
			return
		}
		s, c := clip(s, limit)
		cut = cut || c
		dst = append(dst, key...)
		dst = appendString(dst, s)
	}
	names := func(key string, list []string) {
		if len(list) == 0 {
			return
		}
		list, c := clipList(list, maxNames)
		cut = cut || c
		dst = append(dst, key...)
		dst = appendStrings(dst, list)
	}
	count := func(key string, n int64) {
		dst = append(dst, key...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	dst = append(dst, `,"unmapped":{"phase":"`...)
	dst = append(dst, e.Phase...)
	dst = append(dst, '"')
	text(`,"store":`, e.Store, maxText)
	text(`,"purpose":`, e.Purpose, maxText)
	text(`,"request":`, e.Request, maxText)
	text(`,"transaction":`, e.Transaction, maxText)
	names(`,"tables":`, e.Tables)
	names(`,"columns":`, e.Columns)
	names(`,"sealed_columns":`, e.SealedColumns)
	text(`,"fingerprint":`, e.Fingerprint, maxText)
	text(`,"statement":`, e.Statement, maxSQL)
	if e.KeyVersion != 0 {
		count(`,"key_version":`, int64(e.KeyVersion))
	}
	if e.Store != "" && e.Rows >= 0 {
		count(`,"rows":`, e.Rows)
	}
	if e.Store != "" && e.Bytes >= 0 {
		count(`,"bytes":`, e.Bytes)
	}
	if e.own.chain != "" {
		text(`,"chain":`, e.own.chain, maxText)
	}
	if u := e.own.unproven; u.Count > 0 {
		dst = fmt.Appendf(dst, `,"unauthenticated":{"first":%d,"count":%d}`, u.First, u.Count)
	}
	if g := e.own.gap; g.Count > 0 {
		text(`,"gap":{"stream":`, g.Stream, maxText)
		dst = fmt.Appendf(dst, `,"first":%d,"count":%d}`, g.First, g.Count)
	}
	if c := e.own.pruned; c.Events > 0 {
		dst = fmt.Appendf(dst, `,"pruned":{"events":%d,"record":"%s"}`, c.Events, c.Record)
	}
	if p.sealed != nil {
		dst = append(dst, `,"enc":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, p.sealed)
		dst = append(dst, '"')
	}
	return append(salt(dst), '}'), cut
}

// salt appends 16 random bytes, so that the hash of a line, which a proof shows to others, cannot be guessed from
// what is known of the event.
func salt(dst []byte) []byte {
	var b [16]byte
	rand.Read(b[:]) // it never fails: see its documentation
	dst = append(dst, `,"salt":"`...)
	dst = base64.RawStdEncoding.AppendEncode(dst, b[:])
	return append(dst, '"')
}

// meta appends the metadata object's beginning.
func (n *encoder) meta(dst []byte, e *Event, uid []byte) []byte {
	dst = append(dst, n.metadata...)
	dst = append(dst, `,"uid":"`...)
	dst = append(dst, uid...)
	dst = append(dst, `","event_code":"`...)
	dst = append(dst, e.Code...)
	dst = append(dst, '"')
	if !e.Tenant.IsZero() {
		dst = append(dst, `,"tenant_uid":`...)
		dst = appendString(dst, e.Tenant.String())
	}
	if e.Correlation != "" {
		dst = append(dst, `,"correlation_uid":`...)
		dst = appendString(dst, e.Correlation)
	}
	return dst
}

// tenantHead appends the whole line of a head leaf: the tenant's first size events have this root.
func (n *encoder) tenantHead(dst []byte, id tenant.ID, size int64, root tlog.Hash) ([]byte, error) {
	k, _ := kindOf(CodeLogHead)
	u, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("no randomness for a head leaf: %w", err)
	}
	e := &Event{Code: CodeLogHead, Phase: Single, Status: Success, Tenant: id}
	var uid [36]byte
	dst = n.head(dst, e, k)
	dst = append(append(dst, `,"actor":{`...), n.app...)
	dst = append(dst, n.eventLog...)
	dst = append(dst, `,"unmapped":{"phase":"single","head":{"size":`...)
	dst = strconv.AppendInt(dst, size, 10)
	dst = append(dst, `,"root":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, root[:])
	dst = append(salt(append(dst, `"}`...)), '}')
	return append(n.meta(dst, e, appendUUID(uid[:0], u)), lineEnd...), nil
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	text, _ := id.MarshalText() // it returns no error
	return append(dst, text...)
}
