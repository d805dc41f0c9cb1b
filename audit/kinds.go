package audit

// OCSF is the version of the Open Cybersecurity Schema Framework that events are written in (schema.ocsf.io/1.8.0).
const OCSF = "1.8.0"

// class is an OCSF event class.
type class struct {
	uid, category int
	name          string
}

// kind is the OCSF class and activity of a [Code].
type kind struct {
	class    class
	activity int
	name     string // activity_name
}

// kindOf maps every code that the library emits; ok is false for all others.
func kindOf(c Code) (k kind, ok bool) {
	data := class{6005, 6, "Datastore Activity"}
	entity := class{3004, 3, "Entity Management"}
	eventLog := class{1008, 1, "Event Log Activity"}
	switch c {
	case CodeQuery:
		return kind{data, 4, "Query"}, true
	case CodeExec, CodeBlobWrite:
		return kind{data, 5, "Write"}, true
	case CodeReseal, CodeBlobReseal, CodeMigrate:
		return kind{data, 9, "Encrypt"}, true
	case CodeBlobRead, CodeBlobAttributes:
		return kind{data, 1, "Read"}, true
	case CodeBlobList:
		return kind{data, 8, "List"}, true
	case CodeBlobCopy:
		return kind{data, 6, "Create"}, true
	case CodeBlobDelete, CodeBlobSource, CodeOffboard, CodeBlobOffboard:
		return kind{data, 7, "Delete"}, true
	case CodeBlobGrant:
		return kind{data, 99, "Grant"}, true
	case CodeCommit:
		return kind{data, 99, "Commit"}, true
	case CodeRollback:
		return kind{data, 99, "Rollback"}, true
	case CodeIsolation:
		return kind{data, 10, "Decrypt"}, true
	case CodeKeyProvision:
		return kind{entity, 1, "Create"}, true
	case CodeKeyRotate:
		return kind{entity, 3, "Update"}, true
	case CodeKeyDisable:
		return kind{entity, 9, "Disable"}, true
	case CodeKeyEnable:
		return kind{entity, 8, "Enable"}, true
	case CodeKeyExport, CodeKeyReveal:
		return kind{entity, 2, "Read"}, true
	case CodeKeyDestroy:
		return kind{entity, 4, "Delete"}, true
	case CodeKeySuspend:
		return kind{entity, 12, "Suspend"}, true
	case CodeKeyResume:
		return kind{entity, 13, "Resume"}, true
	case CodeKeyShred:
		return kind{entity, 4, "Delete"}, true
	case CodeKeyStale:
		return kind{entity, 2, "Read"}, true
	case CodeLogStarted:
		return kind{eventLog, 6, "Start"}, true
	case CodeLogRecovered:
		return kind{eventLog, 8, "Restart"}, true
	case CodeLogStopping:
		return kind{eventLog, 7, "Stop"}, true
	case CodeLogPruned:
		return kind{eventLog, 2, "Delete"}, true
	case CodeLogHead:
		return kind{eventLog, 99, "Head"}, true
	case CodeStreamStarted:
		return kind{eventLog, 6, "Start"}, true
	case CodeStreamStopped:
		return kind{eventLog, 7, "Stop"}, true
	case CodeStreamGap:
		return kind{eventLog, 99, "Gap"}, true
	}
	return kind{}, false
}

// Codes returns every code that an event can have.
func Codes() []Code {
	return []Code{
		CodeQuery, CodeExec, CodeReseal, CodeBlobReseal, CodeMigrate, CodeBlobRead, CodeBlobWrite, CodeBlobList, CodeBlobAttributes, CodeBlobCopy,
		CodeBlobDelete, CodeBlobGrant, CodeBlobSource, CodeCommit, CodeRollback, CodeOffboard, CodeBlobOffboard, CodeIsolation,
		CodeKeyProvision, CodeKeyRotate, CodeKeyDisable, CodeKeyEnable, CodeKeyDestroy, CodeKeyExport, CodeKeyReveal,
		CodeKeySuspend, CodeKeyResume, CodeKeyShred, CodeKeyStale, CodeLogStarted, CodeLogRecovered, CodeLogStopping, CodeLogPruned, CodeLogHead,
		CodeStreamStarted, CodeStreamStopped, CodeStreamGap,
	}
}

// severity returns the OCSF severity_id and its caption: an alert is high, a denial or an act that ends a tenant's
// access is medium, a failure or an unknown end low.
func severity(e *Event) (id int, caption string) {
	switch {
	case e.Code == CodeIsolation, e.Code == CodeKeyExport, e.Code == CodeStreamGap, e.Code == CodeLogStopping && e.Status != Success:
		return 4, "High"
	case e.Status == Denied, e.Code == CodeKeySuspend, e.Code == CodeKeyReveal, e.Code == CodeKeyShred, e.Code == CodeKeyDestroy, e.Code == CodeOffboard, e.Code == CodeBlobOffboard, e.Code == CodeKeyStale, e.Code == CodeLogRecovered, e.Code == CodeLogPruned:
		return 3, "Medium"
	case e.Status == Failure, e.Status == Unknown:
		return 2, "Low"
	default:
		return 1, "Informational"
	}
}
