package browsertest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/audit/report"
	"github.com/strongroom-go/strongroom/internal/samplelog"
)

// browser returns a context with a tab. Where there is no Chromium the test is skipped, but for CI, which has to have one.
func browser(t *testing.T) context.Context {
	t.Helper()
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		const why = "NOT TESTED: there is no Chromium; on Debian, apt-get install chromium"
		if os.Getenv("STRONGROOM_CONTAINERS") == "required" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.WSURLReadTimeout(2*time.Minute)) // a machine that others keep busy
	ctx, end := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(end)
	ctx, end = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	return ctx
}

// open opens the report of a sample log, and returns what the page said on the console and asked the network for, as it comes.
func open(t *testing.T, ctx context.Context, hostile bool) (said func() []string) {
	t.Helper()
	l, err := samplelog.Write(filepath.Join(t.TempDir(), "log"), "audit.example.com/node-1", hostile)
	if err != nil {
		t.Fatal(err)
	}
	verified, err := audit.Verify(t.Context(), l.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	opts := &report.Options{Title: "A report", Controls: true, Logs: []report.Log{{Report: verified}}}
	if hostile {
		opts.Actor = func(e *audit.Entry) (string, error) {
			p, err := audit.Reveal(e, l.Sealers[e.Tenant])
			return p.Actor, err
		}
	}
	if err := report.Write(&html, audit.ReadVerified(t.Context(), []*audit.Report{verified}, nil), opts); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, html.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var heard []string
	run(t, ctx) // starts the browser
	err = chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventConsoleAPICalled:
			heard = append(heard, "console: "+string(e.Type))
		case *runtime.EventExceptionThrown:
			heard = append(heard, "exception: "+e.ExceptionDetails.Text)
		case *page.EventJavascriptDialogOpening:
			heard = append(heard, "dialog: "+e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, ctx, chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return heard
	}
}

type action = chromedp.Action[chromedp.Void]

func run(t *testing.T, ctx context.Context, actions ...action) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// value evaluates an expression in the page.
func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// evaluate evaluates an expression for what it does.
func evaluate(expression string) action {
	return func(ctx context.Context, target *chromedp.Target) (v chromedp.Void, err error) {
		_, err = chromedp.Evaluate[any](expression)(ctx, target)
		return v, err
	}
}

// call is a command of the protocol that returns nothing.
func call[P any](command cdp.Command[P, cdp.Empty], params P) action {
	return func(ctx context.Context, target *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, target, command, params)
		return v, err
	}
}

func keys(selector, text string) action { return chromedp.SendKeys(chromedp.CSS(selector), text) }

// visible are the rows of a table that somebody sees.
const visible = `Array.from(document.querySelectorAll("#%s tbody tr")).filter(r => r.offsetParent !== null)`

// TestFilters types and chooses as a reviewer does.
func TestFilters(t *testing.T) {
	ctx := browser(t)
	said := open(t, ctx, false)
	form := `form[data-table="events-table"]`
	rows := func() int { t.Helper(); return value[int](t, ctx, fmt.Sprintf(visible, "events-table")+".length") }
	all := rows()
	output := func() string {
		t.Helper()
		return value[string](t, ctx, `document.querySelector('`+form+` output').value`)
	}
	if all < 500 || output() != fmt.Sprint(all, " rows") {
		t.Fatalf("%d rows, and the page says %q", all, output())
	}
	type step struct {
		what   action
		rows   int
		column int
		has    string
	}
	choose := func(column int, option string) action {
		return evaluate(fmt.Sprintf(`(() => { const s = document.querySelector('%s select[data-column="%d"]'); s.value = %q; s.dispatchEvent(new Event("input", {bubbles: true})); return s.value; })()`, form, column, option))
	}
	for i, s := range []step{
		{choose(2, "denied"), 8, 2, "denied"},
		{choose(3, "harbor"), 3, 3, "harbor"},
		{choose(2, ""), -1, 3, "harbor"},
		{keys(form+" input", "KEY. suspend"), 1, 1, "key.suspend"},
		{keys(form+" input", " nowhere"), 0, 0, ""},
	} {
		run(t, ctx, s.what)
		n := rows()
		if s.rows >= 0 && n != s.rows || n >= all {
			t.Errorf("step %d: %d rows, want %d", i, n, s.rows)
		}
		if got := output(); got != fmt.Sprintf("%d of %d rows", n, all) {
			t.Errorf("step %d: the page says %q of %d", i, got, n)
		}
		bad := value[int](t, ctx, fmt.Sprintf(visible+`.filter(r => !r.cells[%d].textContent.includes(%q)).length`, "events-table", s.column, s.has))
		if bad > 0 {
			t.Errorf("step %d: %d rows without %q", i, bad, s.has)
		}
	}
	// One table's filter is no other's.
	if n := value[int](t, ctx, fmt.Sprintf(visible, "matrix")+".length"); n < 40 {
		t.Errorf("%d rows of the matrix", n)
	}
	// A pseudonym that is shown in short is found whole.
	full := value[string](t, ctx, `document.querySelector("#first-table td[title]").title`)
	run(t, ctx, keys(`form[data-table="matrix"] input`, full))
	if n := value[int](t, ctx, fmt.Sprintf(visible, "matrix")+".length"); n < 1 || n > 10 || len(full) != 28 {
		t.Errorf("%d rows for %q", n, full)
	}
	if len(said()) > 0 {
		t.Errorf("the page said %q", said())
	}
}

// TestHostileTexts: what an attacker put into the log is text in the page, and nothing runs.
func TestHostileTexts(t *testing.T) {
	ctx := browser(t)
	said := open(t, ctx, true)
	if got := value[string](t, ctx, "document.title"); got != "A report" {
		t.Errorf("the title is %q", got)
	}
	for what, want := range map[string]int{"script": 1, "style": 1, "img": 0, "h1": 1, "main": 1, "iframe": 0, "link": 0, "b": 0, "[onerror]": 0, "[src]": 0, `a:not([href^="#"])`: 0} {
		if n := value[int](t, ctx, fmt.Sprintf("document.querySelectorAll(%q).length", what)); n != want {
			t.Errorf("%d elements %s, want %d", n, what, want)
		}
	}
	if n := value[int](t, ctx, `performance.getEntriesByType("resource").length`); n != 0 {
		t.Errorf("%d resources were asked for", n)
	}
	texts := value[[]string](t, ctx, `Array.from(document.querySelectorAll("#events-table td[data-label=Purpose] bdi"), e => e.textContent)`)
	for _, hostile := range samplelog.Hostile[:7] {
		found := false
		for _, text := range texts {
			found = found || text == hostile
		}
		if !found {
			t.Errorf("%q is not shown", hostile)
		}
	}
	// Choosing one finds its rows: the option's value is the text as it is.
	n := value[int](t, ctx, `(() => { const s = document.querySelector('form[data-table="matrix"] select[data-column="3"]'); const o = Array.from(s.options).find(o => o.value.includes("two  spaces")); s.value = o.value; s.dispatchEvent(new Event("input", {bubbles: true})); return `+fmt.Sprintf(visible, "matrix")+`.length })()`)
	if n != 1 {
		t.Errorf("%d rows for a purpose with two spaces", n)
	}
	// The policy holds even where somebody could put a script into the page.
	value[bool](t, ctx, `(() => { const s = document.createElement("script"); s.textContent = 'document.title = "owned"'; document.body.append(s);
		const i = document.createElement("img"); i.src = "x"; i.setAttribute("onerror", 'document.title = "owned"'); document.body.append(i);
		return new Promise(done => setTimeout(() => done(true), 0)); })()`)
	if got := value[string](t, ctx, "document.title"); got != "A report" {
		t.Errorf("a script that was put in ran: %q", got)
	}
	for _, s := range said() {
		if strings.HasPrefix(s, "exception") || strings.HasPrefix(s, "dialog") {
			t.Error(s)
		}
	}
}

// TestPhone: nothing is wider than the screen, and each cell says what it is.
func TestPhone(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, true)
	run(t, ctx, chromedp.EmulateViewport(390, 844))
	if w := value[int](t, ctx, "document.documentElement.scrollWidth"); w > 390 {
		t.Errorf("the page is %d px wide", w)
	}
	if label := value[string](t, ctx, `getComputedStyle(document.querySelector("#matrix td"), "::before").content`); label != `"Tenant"` {
		t.Errorf("a cell says it is %s", label)
	}
	if wide := value[int](t, ctx, `Array.from(document.querySelectorAll("table.stack td, table.stack th[scope=row]")).filter(e => e.getBoundingClientRect().right > 391).length`); wide > 0 {
		t.Errorf("%d cells are out of sight", wide)
	}
}

// TestWithoutScript: the page is complete, and has no filters that do nothing.
func TestWithoutScript(t *testing.T) {
	ctx := browser(t)
	run(t, ctx, call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	open(t, ctx, false)
	// What evaluates here is the debugger's, which may while the page may not.
	if n := value[int](t, ctx, `Array.from(document.querySelectorAll("form.filter")).filter(f => f.offsetParent !== null).length`); n != 0 {
		t.Errorf("%d filters are shown", n)
	}
	if n := value[int](t, ctx, fmt.Sprintf(visible, "events-table")+".length"); n < 500 {
		t.Errorf("%d events are shown", n)
	}
}

// TestPrint: on paper there are no filters, and nothing is cut at the right.
func TestPrint(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, true)
	run(t, ctx, call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}), chromedp.EmulateViewport(1050, 700)) // A4 landscape
	if n := value[int](t, ctx, `Array.from(document.querySelectorAll("form.filter, nav")).filter(f => f.offsetParent !== null).length`); n != 0 {
		t.Errorf("%d filters are printed", n)
	}
	if w := value[int](t, ctx, "document.documentElement.scrollWidth"); w > 1050 {
		t.Errorf("the page is %d px wide", w)
	}
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) || len(pdf) < 50_000 {
		t.Errorf("%d bytes are printed", len(pdf))
	}
}

// TestDark: a reader's choice of colours is followed, and text can be read in both.
func TestDark(t *testing.T) {
	ctx := browser(t)
	open(t, ctx, false)
	for _, scheme := range []string{"light", "dark"} {
		run(t, ctx, call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
		// The contrast of WCAG 2.2, 1.4.3: 4.5 to 1 for each text against what is behind it.
		bad := value[[]string](t, ctx, contrast)
		if len(bad) > 0 {
			t.Errorf("%s: too little contrast: %q", scheme, bad)
		}
	}
}

// contrast lists the kinds of texts whose contrast is below 4.5.
const contrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { const stack = []; for (; e; e = e.parentElement) stack.push(parse(getComputedStyle(e).backgroundColor)); return stack.reverse().reduce((b, c) => over(c, b), [255, 255, 255, 1]); };
  const bad = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("svg, script, [hidden]") || e.offsetParent === null || !Array.from(e.childNodes).some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) bad.add(e.tagName + "." + e.className + " in " + e.parentElement.className + "/" + (e.closest("th, td") || e).className);
  }
  return Array.from(bad);
})()`
