// Package canary fills what a caller can hand to the audit trail with texts that are found again wherever they come out, for
// tests of what must not come out. Which field may stand in the clear is judged here, field by field: one that is new fails the
// tests until somebody has judged it.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/pglog"
	"github.com/strongroom-go/strongroom/tenant"
)

// Verdict is what may become of a field.
type Verdict int

const (
	// Sealed is shown by nothing without the tenant's keys.
	Sealed Verdict = iota + 1
	// Clear stands in the clear, as the field's documentation tells who fills it.
	Clear
	// Closed has no room for a text: a number, a time, one of a few words, a UUID, a tenant's id.
	Closed
	// Setting is an operator's, and no caller's.
	Setting
	// Secret is an operator's, and shown by nothing.
	Secret
)

// Judged has the verdict on every field through which something gets into a trail.
func Judged() map[string]Verdict {
	return map[string]Verdict{
		"audit.Event.Code": Closed, "audit.Event.Phase": Closed, "audit.Event.Status": Closed, "audit.Event.Time": Closed,
		"audit.Event.Correlation": Closed, "audit.Event.Tenant": Closed, "audit.Event.KeyVersion": Closed, "audit.Event.Rows": Closed, "audit.Event.Bytes": Closed,
		"audit.Event.Actor": Sealed, "audit.Event.Details": Sealed, "audit.Event.Sealer": Secret,
		"audit.Event.Transaction": Clear, "audit.Event.Purpose": Clear, "audit.Event.Request": Clear, "audit.Event.Store": Clear, "audit.Event.Name": Clear,
		"audit.Event.Tables": Clear, "audit.Event.Columns": Clear, "audit.Event.SealedColumns": Clear, "audit.Event.Statement": Clear,
		"audit.Event.Fingerprint": Clear, "audit.Event.Reason": Clear,

		"tenant.Access.Tenant": Closed, "tenant.Access.Actor": Sealed, "tenant.Access.Purpose": Clear, "tenant.Access.Request": Clear,

		"audit.Options.Origin": Setting, "audit.Options.Service": Setting, "audit.Options.Durability": Setting, "audit.Options.Timeout": Setting,
		"audit.Options.CheckpointEvery": Setting, "audit.Options.SegmentBytes": Setting, "audit.Options.ReserveBytes": Setting, "audit.Options.AheadBytes": Setting,
		"audit.Options.HeadEvery": Setting, "audit.Options.HeadAfter": Setting, "audit.Options.Tenants": Setting, "audit.Options.Signer": Secret,
		"audit.Options.Verifier": Setting, "audit.Options.Retention": Setting, "audit.Options.RetainEvery": Setting, "audit.Options.Telemetry": Setting,

		"audit.StreamOptions.Signer": Secret, "audit.StreamOptions.Service": Setting, "audit.StreamOptions.Timeout": Setting, "audit.StreamOptions.Tenants": Setting, "audit.StreamOptions.Telemetry": Setting,
		"pglog.Options.StreamOptions": Setting, "pglog.Options.Table": Setting,
	}
}

// Unjudged returns the fields that have no verdict, and the verdicts that are about no field.
func Unjudged() (wrong []string) {
	judged := Judged()
	for _, of := range []reflect.Type{
		reflect.TypeFor[audit.Event](), reflect.TypeFor[tenant.Access](), reflect.TypeFor[audit.Options](), reflect.TypeFor[audit.StreamOptions](), reflect.TypeFor[pglog.Options](),
	} {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() {
				name := of.String() + "." + f.Name
				if judged[name] == 0 {
					wrong = append(wrong, name+" has no verdict: say in package canary what may become of it")
				}
				delete(judged, name)
			}
		}
	}
	for name := range judged {
		wrong = append(wrong, name+" is judged, and there is no such field")
	}
	slices.Sort(wrong)
	return wrong
}

// text is the canary of a field. It has what is escaped somewhere, and no two have a part in common by which they are found.
func text(field string) string { return "c4nary." + strings.ToLower(field) + `."<&>=` + "\u00e9" }

// Fill puts a canary into every field of an event that has room for one.
func Fill(e *audit.Event) {
	v := reflect.ValueOf(e).Elem()
	for name, verdict := range Judged() {
		field, ok := strings.CutPrefix(name, "audit.Event.")
		if !ok || verdict != Sealed && verdict != Clear {
			continue
		}
		switch f := v.FieldByName(field); f.Kind() {
		case reflect.String:
			f.SetString(text(field))
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{text(field), text(field) + "2"}))
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"key": text(field), text(field + "-key"): "value"}))
		default:
			panic(fmt.Sprintf("canary: %s is judged to have room for a text, and is a %v", name, f.Type()))
		}
	}
}

// Each hands over an event of every code, phase and status that a caller can record, with a canary in every field.
func Each(sealer audit.Sealer, record func(*audit.Event) error) error {
	for _, code := range audit.Codes() {
		if strings.HasPrefix(string(code), "audit.") || strings.HasPrefix(string(code), "stream.") {
			continue // the log's own
		}
		for _, phase := range []audit.Phase{audit.Single, audit.Intent, audit.Outcome} {
			for _, status := range []audit.Status{audit.Success, audit.Failure, audit.Denied, audit.Unknown} {
				e := &audit.Event{Tenant: tenant.MustParse("acme"), Sealer: sealer, Rows: 2, Bytes: 3}
				Fill(e)
				e.Code, e.Phase, e.Status = code, phase, status
				if err := record(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ClearFields are the fields of an event that stand in the clear, as [Found] returns them.
func ClearFields() (fields []string) {
	for name, verdict := range Judged() {
		if strings.HasPrefix(name, "audit.Event.") && verdict == Clear {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	return fields
}

// Found returns the fields of a verdict whose canaries data holds, as they are or encoded.
func Found(data []byte, verdict Verdict) (fields []string) {
	lower := bytes.ToLower(data)
	for name, v := range Judged() {
		field, ok := strings.CutPrefix(name, "audit.Event.")
		if !ok || v != verdict {
			continue
		}
		// What comes before the characters that are escaped.
		part := "c4nary." + strings.ToLower(field)
		found := bytes.Contains(lower, []byte(part)) || bytes.Contains(lower, []byte(hex.EncodeToString([]byte(part)))) || bytes.Contains(data, []byte(url.QueryEscape(text(field))))
		for shift := range 3 { // base64 of what has so many bytes before it
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				encoded := enc.EncodeToString([]byte(strings.Repeat("x", shift) + part))
				from, to := (shift*8+5)/6, len(encoded)-2
				found = found || bytes.Contains(data, []byte(encoded[from:to]))
			}
		}
		if found {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	return fields
}
