// Package reason has the type of the classes that errors have in the audit trail, which are in the clear there. Nobody outside the module
// can name it: an application's error that has a method AuditReason of its own says nothing there.
package reason

// Text is an error's class: a few words, and never any data.
type Text string
