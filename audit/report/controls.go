package report

import (
	"strings"

	"github.com/strongroom-go/strongroom/audit"
)

// Control is a requirement of a standard of which the trail is evidence.
type Control struct {
	Standard string
	ID       string // as the standard numbers it
	Asks     string // in short, not in the standard's words
	Shows    string // what the trail has of it
	// Command is what shows it: the arguments of auditctl, without the directories. It is "verify", or "query" with Code and
	// Status.
	Command []string
	Code    audit.Code
	Status  audit.Status
}

// The standards, with the edition that the numbers are of.
const (
	soc2  = "SOC 2 (Trust Services Criteria 2017, points of focus of 2022)"
	iso   = "ISO/IEC 27001:2022, Annex A"
	hipaa = "HIPAA Security Rule, 45 CFR 164.312"
	pci   = "PCI DSS 4.0.1, requirement 10"
	gdpr  = "GDPR (EU) 2016/679, articles 30 and 32"
)

// Controls returns what the trail is evidence of, by standard.
func Controls() []Control {
	verify := func(standard, id, asks, shows string) Control {
		return Control{Standard: standard, ID: id, Asks: asks, Shows: shows, Command: []string{"verify"}}
	}
	query := func(standard, id, asks, shows string, code audit.Code, status audit.Status) Control {
		c := Control{standard, id, asks, shows, []string{"query"}, code, status}
		if code != "" {
			c.Command = append(c.Command, "-code", string(code))
		}
		if status != "" {
			c.Command = append(c.Command, "-status", string(status))
		}
		return c
	}
	const (
		everything = audit.Code("")
		any        = audit.Status("")
	)
	return []Control{
		query(soc2, "CC6.1", "Logical access to protected information is controlled.", "Each SQL statement with actor, tenant, purpose and tables, admitted or not; with “-code blob.” each operation on an object.", "sql.", any),
		query(soc2, "CC6.3", "Access is given and taken away by role and need.", "What was not admitted, and why.", everything, audit.Denied),
		query(soc2, "CC6.5", "Data can no longer be read before what holds it is given up.", "Tenants whose keys were shredded, by whom and when.", audit.CodeKeyShred, any),
		query(soc2, "CC6.7", "What leaves is restricted and authorized.", "Keys that were handed out for use elsewhere.", audit.CodeKeyExport, any),
		query(soc2, "CC7.2", "Anomalies are watched for.", "Values that did not open where they were found: moved, changed, or another tenant’s.", "alert.", any),
		query(soc2, "CC7.3", "Security events are evaluated.", "Operations that were admitted and failed.", everything, audit.Failure),
		query(soc2, "CC7.4", "Incidents are contained.", "Tenants that were suspended, by whom and when.", audit.CodeKeySuspend, any),

		query(iso, "A.5.15", "Access to information is controlled by rules.", "What was not admitted, and why.", everything, audit.Denied),
		verify(iso, "A.5.28", "Evidence is collected so that it stands up.", "Nothing was changed, added or taken away since it was written; “auditctl bundle” hands one customer its part with the proof."),
		verify(iso, "A.5.33", "Records are protected from loss and falsification.", "The same, of the trail itself."),
		query(iso, "A.5.34", "Personal data is protected.", "Who had actors and details revealed, of which tenant.", audit.CodeKeyReveal, any),
		query(iso, "A.8.2", "Privileged rights are restricted and managed.", "What operators did with tenants’ keys.", "key.", any),
		query(iso, "A.8.3", "Access to information is restricted.", "Reads by actor, tenant, purpose and table, with rows.", audit.CodeQuery, any),
		query(iso, "A.8.10", "Information is deleted when it is no longer needed.", "Rows deleted at the end of a contract.", audit.CodeOffboard, any),
		query(iso, "A.8.15", "Activities, faults and security events are logged and the logs protected.", "All events.", everything, any),
		query(iso, "A.8.16", "Systems are monitored for anomalous behaviour.", "Values that did not open where they were found.", "alert.", any),
		query(iso, "A.8.24", "Cryptographic keys are managed.", "Keys made, rotated, disabled, destroyed, shredded.", "key.", any),

		query(hipaa, "(a)(1)", "Only those with rights have access to ePHI.", "What was not admitted, and why.", everything, audit.Denied),
		query(hipaa, "(a)(2)(i)", "Users have a unique name and are tracked by it.", "The actor of each statement, a pseudonym that “keyctl review” resolves.", "sql.", any),
		query(hipaa, "(a)(2)(iv)", "ePHI is encrypted and decrypted.", "The keys’ life; “key_version” of an event is the key in use.", "key.", any),
		query(hipaa, "(b)", "Activity in systems with ePHI is recorded and examined.", "All events.", everything, any),
		query(hipaa, "(c)(2)", "It can be shown that ePHI was not altered without authority.", "Values that did not open, since they were altered or moved.", "alert.", any),

		query(pci, "10.2.1.1", "All access of individuals to cardholder data is logged.", "Each SQL statement with its actor; with “-code blob.” each operation on an object.", "sql.", any),
		query(pci, "10.2.1.2", "All actions with administrative access are logged.", "What operators did with keys.", "key.", any),
		query(pci, "10.2.1.3", "All access to audit logs is logged.", "Who had actors and details revealed. Reading the files as they are is not an event.", audit.CodeKeyReveal, any),
		query(pci, "10.2.1.4", "All invalid access attempts are logged.", "What was not admitted.", everything, audit.Denied),
		query(pci, "10.2.1.6", "Starting, stopping and pausing of logs is logged.", "When the trail was opened, recovered after a crash, and closed.", "audit.", any),
		query(pci, "10.2.2", "Events have user, type, time, result, origin and what was affected.", "All events; with -json each with all its fields (OCSF).", everything, any),
		verify(pci, "10.3.2", "Logs are protected from modification.", "Nothing was changed, added or taken away since it was written."),
		verify(pci, "10.3.4", "Change of existing log data is detected.", "The same; with -pin or -witness also of a log that was cut or written anew."),
		query(pci, "10.7.2", "Failures of audit logging are detected.", "A trail that ended in a crash (audit.recovered) or on a full disk (audit.stopping, failure).", "audit.", any),

		query(gdpr, "30(1)(b)", "Records have the purposes of processing.", "The purpose of each read.", audit.CodeQuery, any),
		query(gdpr, "30(1)(c)", "Records have the categories of data.", "Tables and columns of each statement; sealed ones are marked.", "sql.", any),
		query(gdpr, "32(1)(a)", "Personal data is pseudonymised and encrypted.", "The life of the keys that do both.", "key.", any),
		query(gdpr, "32(1)(b)", "Confidentiality and integrity are ensured.", "Values that did not open where they were found.", "alert.", any),
		verify(gdpr, "32(1)(d)", "Measures are tested regularly.", "That the record of access is whole. Run it by schedule, and keep what it says."),
		query(gdpr, "32(4)", "Who has access acts on instruction only.", "What was read, by whom and for which purpose.", audit.CodeQuery, any),
	}
}

// cannot is what no query of the trail shows.
var cannot = []string{
	"That the actor was the person: the application authenticates, and the trail has what it said (HIPAA (d); PCI DSS 8; ISO A.5.16, A.5.17, A.8.5).",
	"That a stated purpose was the true one, or a right was well given (CC6.2, CC6.3; GDPR 6 and 5(1)(b)).",
	"What happened outside of Strongroom: in the database as a superuser, on backups, on a screen after data was released, in the process’s own memory.",
	"That data is encrypted on the wire: Strongroom refuses plaintext connections, and records none of that (HIPAA (e); CC6.6, CC6.7; ISO A.8.20).",
	"That clocks were right: times are the process’s own, the order is proven and they are not (PCI DSS 10.6; ISO A.8.17).",
	"That somebody looked: reviews leave no event of their own, but for actors who were revealed (PCI DSS 10.4.1; HIPAA 164.308(a)(1)(ii)(D)).",
	"How long the trail is kept, where copies are, and who can read them (PCI DSS 10.3.1, 10.3.3, 10.5.1; ISO A.8.13).",
	"Who has which account and password, and changes of those (PCI DSS 10.2.1.5, 10.2.1.7).",
	"A whole record of processing under article 30: controller, recipients, transfers and time limits are not in it.",
	"That the end of the trail is there, without a pin or a witness.",
}

type controlsView struct {
	Standard string
	Table    tableView
}

// viewControls counts what each query selects of the events on the page.
func (c *collector) viewControls() (views []controlsView) {
	for _, control := range Controls() {
		if len(views) == 0 || views[len(views)-1].Standard != control.Standard {
			t := newTableView("", control.Standard, "Requirement", "It asks", "The trail shows", "Command", "#Events here")
			views = append(views, controlsView{control.Standard, t})
		}
		n := cellView{}
		if control.Command[0] == "query" {
			n = count(c.selected(control))
		}
		views[len(views)-1].Table.row("", text(control.ID), text(control.Asks), text(control.Shows),
			cellView{Text: "auditctl " + strings.Join(control.Command, " ") + " DIR", Class: "command"}, n)
	}
	return views
}

func (c *collector) selected(control Control) (n int64) {
	for k, events := range c.codes.of {
		of := control.Code == "" || k.code == control.Code || strings.HasSuffix(string(control.Code), ".") && strings.HasPrefix(string(k.code), string(control.Code))
		if of && (control.Status == "" || k.status == control.Status) {
			n += *events
		}
	}
	return n
}
