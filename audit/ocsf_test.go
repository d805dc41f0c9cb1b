package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit/internal/faultfs"
	"github.com/strongroom-go/strongroom/tenant"
	"syscall"
)

// ocsfSchema is the compiled OCSF schema, cut to the classes that this module uses.
type ocsfSchema struct {
	Version string                `json:"version"`
	Classes map[string]ocsfObject `json:"classes"`
	Objects map[string]ocsfObject `json:"objects"`
}

type ocsfObject struct {
	Name        string              `json:"name"`
	UID         int64               `json:"uid"`
	CategoryUID int64               `json:"category_uid"`
	Attributes  map[string]ocsfAttr `json:"attributes"`
	Constraints map[string][]string `json:"constraints"`
	Profiles    []string            `json:"profiles"`
}

type ocsfAttr struct {
	Type        string         `json:"type"`
	ObjectType  string         `json:"object_type"`
	Requirement string         `json:"requirement"`
	IsArray     bool           `json:"is_array"`
	Enum        map[string]any `json:"enum"`
	Sibling     string         `json:"sibling"`
	Profiles    []string       `json:"profiles"`
}

func loadSchema(t *testing.T) *ocsfSchema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "ocsf-1.8.0-trimmed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s ocsfSchema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != OCSF || len(s.Classes) != 4 || len(s.Objects) < 50 {
		t.Fatalf("the schema is version %s with %d classes and %d objects", s.Version, len(s.Classes), len(s.Objects))
	}
	return &s
}

// validate returns everything about a line that the schema does not allow.
func (s *ocsfSchema) validate(line []byte) error {
	var doc map[string]any
	dec := json.NewDecoder(strings.NewReader(string(line)))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return err
	}
	for _, class := range s.Classes {
		if fmt.Sprint(doc["class_uid"]) != strconv.FormatInt(class.UID, 10) {
			continue
		}
		v := &ocsfValidator{schema: s, profiles: profilesOf(doc)}
		for _, p := range v.profiles {
			if !slices.Contains(class.Profiles, p) {
				v.problem("metadata.profiles", "the class has no profile %s", p)
			}
		}
		if fmt.Sprint(doc["category_uid"]) != strconv.FormatInt(class.CategoryUID, 10) {
			v.problem("category_uid", "is %v, not the class's %d", doc["category_uid"], class.CategoryUID)
		}
		activity, _ := strconv.ParseInt(fmt.Sprint(doc["activity_id"]), 10, 64)
		if fmt.Sprint(doc["type_uid"]) != strconv.FormatInt(class.UID*100+activity, 10) {
			v.problem("type_uid", "is %v for activity %d", doc["type_uid"], activity)
		}
		v.object("", doc, class)
		return errors.Join(v.problems...)
	}
	return fmt.Errorf("class_uid %v is not in the schema", doc["class_uid"])
}

func profilesOf(doc map[string]any) []string {
	var list []string
	m, _ := doc["metadata"].(map[string]any)
	p, _ := m["profiles"].([]any)
	for _, name := range p {
		list = append(list, fmt.Sprint(name))
	}
	return list
}

type ocsfValidator struct {
	schema   *ocsfSchema
	profiles []string
	problems []error
}

func (v *ocsfValidator) problem(path, format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

// enabled tells whether an attribute exists at all under the event's profiles.
func (v *ocsfValidator) enabled(a ocsfAttr) bool {
	return len(a.Profiles) == 0 || slices.ContainsFunc(a.Profiles, func(p string) bool { return slices.Contains(v.profiles, p) })
}

func (v *ocsfValidator) object(path string, doc map[string]any, o ocsfObject) {
	if o.Name == "object" {
		return // free form
	}
	for name, value := range doc {
		a, ok := o.Attributes[name]
		if !ok || !v.enabled(a) {
			v.problem(path+name, "%s has no such attribute under the profiles %v", o.Name, v.profiles)
			continue
		}
		v.attribute(path+name, value, a)
		if a.Sibling != "" && a.Enum != nil {
			v.sibling(path, doc, name, a)
		}
	}
	for name, a := range o.Attributes {
		if _, ok := doc[name]; !ok && a.Requirement == "required" && v.enabled(a) {
			v.problem(path+name, "it is required in %s", o.Name)
		}
	}
	for kind, names := range o.Constraints {
		n := 0
		for _, name := range names {
			if _, ok := doc[name]; ok {
				n++
			}
		}
		if kind == "at_least_one" && n == 0 || kind == "just_one" && n != 1 {
			v.problem(path, "%s needs %s of %v and has %d", o.Name, kind, names, n)
		}
	}
}

// sibling compares the caption beside an enum with the schema's, except for "Other", which takes any.
func (v *ocsfValidator) sibling(path string, doc map[string]any, name string, a ocsfAttr) {
	caption, ok := doc[a.Sibling]
	if !ok || fmt.Sprint(doc[name]) == "99" {
		return
	}
	want := a.Enum[fmt.Sprint(doc[name])]
	if m, ok := want.(map[string]any); ok {
		want = m["caption"]
	}
	if caption != want {
		v.problem(path+a.Sibling, "is %q, and %s %v means %q", caption, name, doc[name], want)
	}
}

func (v *ocsfValidator) attribute(path string, value any, a ocsfAttr) {
	if a.IsArray {
		list, ok := value.([]any)
		if !ok {
			v.problem(path, "it is not an array")
		}
		a.IsArray = false
		for i, e := range list {
			v.attribute(fmt.Sprintf("%s[%d]", path, i), e, a)
		}
		return
	}
	switch a.Type {
	case "object_t":
		o, ok := value.(map[string]any)
		def, known := v.schema.Objects[a.ObjectType]
		if !ok || !known {
			v.problem(path, "it is not an object of the known type %s", a.ObjectType)
			return
		}
		v.object(path+".", o, def)
		return
	case "boolean_t":
		if _, ok := value.(bool); !ok {
			v.problem(path, "it is not a boolean")
		}
	case "integer_t", "long_t", "timestamp_t", "port_t":
		n, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
		if _, ok := value.(json.Number); !ok || err != nil {
			v.problem(path, "%v is not an integer", value)
		}
		if a.Type == "timestamp_t" && (n < 1e12 || n > math.MaxInt32*1000) {
			v.problem(path, "%d are not milliseconds since 1970", n)
		}
	default: // every other type that this module uses is a string
		text, ok := value.(string)
		if !ok || text == "" || len(text) > 65535 {
			v.problem(path, "it is not a string of 1 to 65535 bytes")
		}
		if a.Type == "hostname_t" && !regexp.MustCompile(`^[a-zA-Z0-9.-]+$`).MatchString(text) {
			v.problem(path, "it is not a host name")
		}
	}
	if a.Enum != nil && a.Enum[fmt.Sprint(value)] == nil {
		v.problem(path, "%v is not in the enum", value)
	}
}

// allCodes reads the codes from the source, so that one which is added cannot be forgotten here.
func allCodes(t *testing.T) []Code {
	t.Helper()
	src, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []Code
	for _, m := range regexp.MustCompile(`\sCode\s+=\s+"([a-z.]+)"`).FindAllStringSubmatch(string(src), -1) {
		codes = append(codes, Code(m[1]))
	}
	if len(codes) < 19 {
		t.Fatalf("only %d codes found in event.go", len(codes))
	}
	return codes
}

// TestOCSF records every kind of event there is in every phase, status and store, and holds each against the schema.
func TestOCSF(t *testing.T) {
	schema := loadSchema(t)
	dir := filepath.Join(t.TempDir(), "log")
	fsys := faultfs.New()
	fsys.Volatile = true // thousands of events, one by one
	opts := quiet()
	opts.fs = fsys
	l := mustOpen(t, dir, opts)
	sealer := newSealer(t)
	codes := allCodes(t)
	for _, code := range codes {
		k, ok := kindOf(code)
		if !ok {
			t.Errorf("%s has no OCSF class", code)
		}
		if k.class.uid == 1008 {
			continue // recorded by the log itself, below
		}
		for _, phase := range []Phase{Single, Intent, Outcome} {
			for _, status := range []Status{Success, Failure, Denied, Unknown} {
				for _, store := range []string{"postgresql", "sqlite", "blob", ""} {
					full := query(acme, "r")
					full.Code, full.Phase, full.Status, full.Store = code, phase, status, store
					full.Reason, full.Sealer, full.Details = "suspended", sealer, map[string]string{"key": "a"}
					full.Rows, full.Bytes = 3, 4
					mustRecord(t, l, full, &Event{Code: code, Phase: phase, Status: status, Store: store})
				}
			}
		}
	}
	// The log's own: a log that was not closed, one that was, and one whose disk is full.
	crashed := copyDir(t, dir)
	mustClose(t, mustOpen(t, crashed, quiet()))
	// One whose last events nothing authenticates, and events of a tenant that it does not know.
	unproven := copyDir(t, filepath.Join("testdata", "unchained", "log"))
	other := mustOpen(t, unproven, quiet())
	mustRecord(t, other, denial(tenant.MustParse("invented")))
	mustClose(t, other)
	fsys.Before = func(s faultfs.Step) error {
		if s.Op == faultfs.Write && strings.HasSuffix(s.Name, ".jsonl") {
			fsys.Before = nil
			return syscall.ENOSPC
		}
		return nil
	}
	if err := l.Record(t.Context(), query(acme, "r")); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("on a full disk: %v", err)
	}
	l.Close()

	// One into which streams were taken, not all of what they had.
	streamed := filepath.Join(t.TempDir(), "log")
	signer := mustSigner(t, strings.TrimSpace(string(readFile(t, filepath.Join(dir, signerName)))))
	rows := streamRows(t, signer, query(acme, "r"), query(acme, "lost"), query(acme, "forged"), denial(globex))
	rows[3].MAC[0] ^= 1
	adopting := mustOpen(t, streamed, quiet())
	mustAdopt(t, adopting, signer, slices.Concat(rows[:2], rows[3:]))
	mustClose(t, adopting)

	seen := map[string]int{}
	pruned, _, _, _, _ := prunedLog(t)

	for _, d := range []string{dir, crashed, unproven, streamed, pruned} {
		for _, e := range entries(t, d, nil) {
			if err := schema.validate(e.Raw); err != nil {
				t.Errorf("%s %s %s %s:\n%v\n%s", e.Code, e.Phase, e.Status, e.Store, err, e.Raw)
			}
			seen[string(e.Code)+" "+string(e.Status)]++
		}
	}
	for _, code := range codes {
		if seen[string(code)+" success"] == 0 && (code != CodeStreamGap || seen[string(code)+" failure"] < 2) {
			t.Errorf("no %s event was validated", code)
		}
	}
	if seen["audit.stopping failure"] != 1 {
		t.Errorf("the full disk left %d audit.stopping events: %v", seen["audit.stopping failure"], slices.Sorted(maps.Keys(seen)))
	}
}

// TestOCSFValidatorRefuses shows that the validator above can fail.
func TestOCSFValidatorRefuses(t *testing.T) {
	schema := loadSchema(t)
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	denied := query(acme, "r")
	denied.Status = Denied
	line, err := l.enc.event(nil, denied)
	if err != nil {
		t.Fatal(err)
	}
	good := string(line) + "1}}"
	if err := schema.validate([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"an unknown attribute":              {`"activity_id"`, `"activity_code":1,"activity_id"`},
		"a missing required attribute":      {`"severity_id":3,`, ``},
		"a value outside its enum":          {`"status_id":2`, `"status_id":7`},
		"a caption that is another's":       {`"severity":"Medium"`, `"severity":"High"`},
		"a wrong type":                      {`"class_name":"Datastore Activity"`, `"class_name":6`},
		"a profile that is not switched on": {`"profiles":["security_control"],`, ``},
		"a type_uid of another activity":    {`"type_uid":600504`, `"type_uid":600505`},
		"a time in seconds":                 {`{"time":17`, `{"time":0`},
		"an object without what it needs":   {`,"src_endpoint":{"svc_name":"strongroom"}`, `,"src_endpoint":{}`},
		"a nested required attribute":       {`"product":{"name":"Strongroom","vendor_name":"Strongroom"},`, ``},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: the line has no %s", what, change[0])
		} else if schema.validate([]byte(bad)) == nil {
			t.Errorf("%s passed", what)
		}
	}
}

func TestSeverity(t *testing.T) {
	l := mustOpen(t, filepath.Join(t.TempDir(), "log"), quiet())
	alert := query(acme, "alert")
	alert.Code, alert.Phase, alert.Status = CodeIsolation, Single, Failure
	denial := query(acme, "denial")
	denial.Phase, denial.Status, denial.Reason = Single, Denied, "unauthorized"
	failed := query(acme, "failed")
	failed.Phase, failed.Status = Outcome, Failure
	mustRecord(t, l, query(acme, "plain"), alert, denial, failed, &Event{Code: CodeKeyShred, Phase: Single, Status: Success, Tenant: acme})
	mustClose(t, l)
	want := map[string]string{"plain": "Informational", "alert": "High", "denial": "Medium", "failed": "Low", "": "Medium"}
	for _, e := range entries(t, l.dir, &Filter{Tenant: acme}) {
		if e.Code != CodeLogHead && e.Severity != want[e.Request] {
			t.Errorf("%s %s is %s, want %s", e.Request, e.Code, e.Severity, want[e.Request])
		}
		var doc struct {
			Alert       bool   `json:"is_alert"`
			StatusID    int    `json:"status_id"`
			Disposition string `json:"disposition"`
			Detail      string `json:"status_detail"`
		}
		if err := json.Unmarshal(e.Raw, &doc); err != nil {
			t.Fatal(err)
		}
		if e.Request == "alert" && (!doc.Alert || doc.Disposition != "Alert") {
			t.Errorf("the alert is no alert: %s", e.Raw)
		}
		if e.Request == "denial" && (doc.StatusID != 2 || doc.Disposition != "Blocked" || doc.Detail != "unauthorized") {
			t.Errorf("the denial is none: %s", e.Raw)
		}
	}
}
