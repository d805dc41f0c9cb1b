// Package browsertest looks at pages as people do, in Chromium, which it drives: at what auditctl report writes, as a reviewer,
// and at examples/clinic, as somebody who tries it. It is a module of its own so that the library does not depend on what
// drives a browser. CLINIC_SCREENSHOTS names a directory for pictures of the clinic's pages.
package browsertest
