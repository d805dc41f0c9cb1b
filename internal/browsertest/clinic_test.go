package browsertest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/strongroom-go/strongroom/audit"
)

// startClinic builds examples/clinic, runs it by itself in a directory of the test's, and returns its address. When the test ends
// the program is told to end, must do so without an error, and leave a trail that verifies.
func startClinic(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "clinic")
	build := exec.Command("go", "build", "-o", program, "./examples/clinic")
	build.Dir = filepath.Join("..", "..") // the example is of the library's module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data := filepath.Join(dir, "data")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "-listen", "127.0.0.1:0", "-dir", data)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the clinic ended with %v", err)
		}
		if report, err := audit.Verify(context.Background(), filepath.Join(data, "audit"), nil); err != nil || !report.Closed {
			t.Errorf("the trail: %v", err)
		}
		text, _ := os.ReadFile(log.Name())
		for _, personal := range []string{"Ada", "Byrne", "penicillin", "dr.adams", "token="} {
			if strings.Contains(string(text), personal) {
				t.Errorf("the log has %q in it", personal)
			}
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	at, ok := strings.CutPrefix(strings.TrimSpace(line), "clinic: serving at ")
	if err != nil || !ok {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("%q, %v\n%s", line, err, text)
	}
	return at
}

// errorsOf notes what pages complain of: exceptions, and what their policy kept from them.
func errorsOf(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	var mu sync.Mutex
	var heard []string
	run(t, ctx) // starts the browser
	err := chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventConsoleAPICalled:
			heard = append(heard, "console: "+string(e.Type))
		case *runtime.EventExceptionThrown:
			heard = append(heard, "exception: "+e.ExceptionDetails.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return heard
	}
}

// until waits for an expression to be true, in which frame(id) is the document of a part of the desk. Pages come and go meanwhile.
func until(t *testing.T, ctx context.Context, what, expression string) {
	t.Helper()
	in := fmt.Sprintf(`(async () => { const frame = id => document.querySelector("#" + id + " iframe").contentDocument; try { return !!(%s); } catch { return false; } })()`, expression)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](in, chromedp.EvalAwaitPromise)); err == nil && ok {
			return
		}
	}
	t.Fatalf("%s did not come about; the desk has %q", what, value[string](t, ctx, `Array.from(document.querySelectorAll("iframe"), f => f.contentDocument.body.innerText.slice(0, 600)).join("\n---\n")`))
}

// click clicks on what a selector finds first in a part of the desk, or, with a text, on the first that has it.
func click(t *testing.T, ctx context.Context, part, selector, text string) {
	t.Helper()
	until(t, ctx, selector+" "+text, fmt.Sprintf(`(() => { const e = Array.from(frame(%q).querySelectorAll(%q)).find(e => e.textContent.includes(%q)); if (!e) return false; e.click(); return true; })()`, part, selector, text))
}

// picture writes what the browser shows where CLINIC_SCREENSHOTS names a directory, for people to look at.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("CLINIC_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

func scheme(name string) action {
	return call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// TestClinic clicks through the example as a person does who wants to know what it is about.
func TestClinic(t *testing.T) {
	ctx := browser(t)
	at := startClinic(t)
	said := errorsOf(t, ctx)
	run(t, ctx, chromedp.EmulateViewport(1440, 900), scheme("light"), chromedp.Navigate(at))
	picture(t, ctx, "front")
	run(t, ctx, chromedp.Click(chromedp.CSS("button.primary")))
	until(t, ctx, "the desk", `frame("harbor").querySelectorAll(".list li a").length >= 4 && frame("hillside").querySelectorAll(".list li a").length >= 3 && frame("trail").querySelectorAll(".card.harbor").length > 0`)
	if n := value[int](t, ctx, `document.querySelector("#hillside iframe").contentDocument.body.innerText.split("Tomas Ferreira").length`); n != 1 {
		t.Error("Hillside is shown a patient of Harbor's")
	}
	until(t, ctx, "a card of what the pages did", `Array.from(frame("trail").querySelectorAll(".card.hillside")).some(c => c.textContent.includes("sql.query") && c.textContent.includes("3 rows"))`)
	picture(t, ctx, "desk")

	// A patient: fields, a scan that has really come, and the trail without any value.
	click(t, ctx, "harbor", ".list a", "Ada Byrne")
	until(t, ctx, "the patient", `frame("harbor").querySelector("h1").textContent === "Ada Byrne" && frame("harbor").querySelector(".sealed").textContent.includes("penicillin")`)
	until(t, ctx, "the scan", `frame("harbor").querySelector(".scans img").naturalWidth === 360`)
	until(t, ctx, "the scan in the trail", `Array.from(frame("trail").querySelectorAll(".card.harbor")).some(c => c.textContent.includes("blob.read"))`)
	picture(t, ctx, "patient")
	if trail := value[string](t, ctx, `document.querySelector("#trail iframe").contentDocument.documentElement.outerHTML`); strings.Contains(trail, "Ada") || strings.Contains(trail, "penicillin") || strings.Contains(trail, "adams") {
		t.Error("the trail shows a value")
	}

	// The link of the other clinic's: refused, and in the trail. The id alone: nobody.
	click(t, ctx, "harbor", ".brand", "")
	click(t, ctx, "harbor", "a.danger", "")
	until(t, ctx, "the refusal", `frame("harbor").querySelector(".code").textContent === "403"`)
	until(t, ctx, "the denial in the trail", `Array.from(frame("trail").querySelectorAll(".card.harbor.denied")).some(c => c.textContent.includes("unauthorized"))`)
	picture(t, ctx, "denied")
	click(t, ctx, "harbor", ".button", "Back")
	click(t, ctx, "harbor", ".letter a", "Try the id alone")
	until(t, ctx, "nobody", `frame("harbor").querySelector(".code").textContent === "404"`)

	// Accounts sees the list, and no patient's file.
	click(t, ctx, "hillside", ".who button", "accounts")
	until(t, ctx, "accounts", `frame("hillside").querySelector(".who").textContent.includes("M. Bell")`)
	click(t, ctx, "hillside", ".list a", "Yuki Tanaka")
	until(t, ctx, "the refusal", `frame("hillside").querySelector(".code").textContent === "403"`)
	until(t, ctx, "the denial in the trail", `frame("trail").querySelectorAll(".card.hillside.denied").length > 0`)
	picture(t, ctx, "accounts")

	// A visit, and a scan that is uploaded.
	click(t, ctx, "harbor", ".button", "Back")
	click(t, ctx, "harbor", ".list a", "Kofi Mensah")
	until(t, ctx, "another patient", `frame("harbor").querySelector("h1").textContent === "Kofi Mensah"`)
	until(t, ctx, "a visit's form", `(() => { const f = frame("harbor").querySelector("details form"); f.elements.ward.value = "surgery"; f.elements.finding.value = "Wound <b>clean</b>."; f.requestSubmit(); return true; })()`)
	until(t, ctx, "the visit", `frame("harbor").querySelectorAll(".visits li").length === 2 && frame("harbor").querySelector(".visits p").textContent === "Wound <b>clean</b>."`)
	upload := func(name, typ, content string) {
		until(t, ctx, "an upload", fmt.Sprintf(`await (async () => { const f = frame("harbor").querySelector(".upload"); const files = new DataTransfer(); files.items.add(new File([%s], %q, {type: %q})); f.elements.scan.files = files.files; f.requestSubmit(); return true; })()`, content, name, typ))
	}
	upload("wrist.png", "image/png", `await new Promise(done => { const c = document.createElement("canvas"); c.width = 64; c.height = 48; c.toBlob(done); })`)
	until(t, ctx, "the upload", `frame("harbor").querySelector(".scans img").naturalWidth === 64 && frame("harbor").querySelector("figcaption").textContent.includes("wrist.png")`)
	upload("scan.png", "image/png", `"<script>document.title = 'owned'</script>"`)
	until(t, ctx, "what is no picture", `frame("harbor").querySelector(".code").textContent === "400"`)

	for _, part := range []string{"harbor", "hillside", "trail"} {
		if cookie := value[string](t, ctx, fmt.Sprintf(`document.querySelector("#%s iframe").contentDocument.cookie`, part)); cookie != "" {
			t.Errorf("scripts of %s see the cookie", part)
		}
	}
	if len(said()) > 0 {
		t.Errorf("the pages said %q", said())
	}
}

// TestClinicLooks looks at each kind of page on a phone and a desk, in light and dark: nothing is wider than the screen, and all
// text can be read.
func TestClinicLooks(t *testing.T) {
	ctx := browser(t)
	at := startClinic(t)
	run(t, ctx, chromedp.EmulateViewport(1440, 900), chromedp.Navigate(at), chromedp.Click(chromedp.CSS("button.primary")))
	until(t, ctx, "the desk", `frame("harbor").querySelectorAll(".list li a").length >= 4`)
	patient := value[string](t, ctx, `document.querySelector("#harbor iframe").contentDocument.querySelector(".list a").href`)
	denied := value[string](t, ctx, `document.querySelector("#harbor iframe").contentDocument.querySelector("a.danger").href`)
	for name, page := range map[string]string{"front": at, "patients": at + "/at/harbor/", "patient": patient, "denied": denied, "trail": at + "/trail", "desk": at + "/desk"} {
		for _, width := range []int64{390, 1440} {
			for _, light := range []string{"light", "dark"} {
				run(t, ctx, chromedp.EmulateViewport(width, 844), scheme(light), chromedp.Navigate(page))
				if w := value[int](t, ctx, "document.documentElement.scrollWidth"); int64(w) > width {
					t.Errorf("%s is %d px wide on a screen of %d", name, w, width)
				}
				if bad := value[[]string](t, ctx, contrast); len(bad) > 0 {
					t.Errorf("%s, %s: too little contrast: %q", name, light, bad)
				}
				picture(t, ctx, fmt.Sprintf("%s-%d-%s", name, width, light))
			}
		}
	}
	// On a phone a clinic fills the screen, and the next is a swipe away.
	run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(at+"/desk"))
	if w := value[int](t, ctx, `document.querySelector("#hillside").getBoundingClientRect().left`); w != 390 {
		t.Errorf("Hillside begins at %d px", w)
	}
}

// TestClinicKeepsOthersOut sends what browsers and forgers would.
func TestClinicKeepsOthersOut(t *testing.T) {
	at := startClinic(t)
	send := func(method, path string, header map[string]string) *http.Response {
		r, err := http.NewRequest(method, at+path, strings.NewReader(url.Values{"user": {"dr.adams"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer
	}
	own := send("POST", "/signin", map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": at})
	if own.StatusCode != http.StatusSeeOther || len(own.Cookies()) != 3 {
		t.Fatalf("%d, %d cookies", own.StatusCode, len(own.Cookies()))
	}
	for _, c := range own.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path == "/" {
			t.Errorf("a cookie is %v", c)
		}
	}
	var harbor string
	for _, c := range own.Cookies() {
		if c.Path == "/at/harbor/" {
			harbor = c.Name + "=" + c.Value
		}
	}
	for _, c := range []struct {
		what, method, path string
		header             map[string]string
		want               int
	}{
		{"another site's form", "POST", "/signin", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://example.org"}, http.StatusForbidden},
		{"an older browser's", "POST", "/signin", map[string]string{"Origin": "https://example.org"}, http.StatusForbidden},
		{"nobody", "GET", "/at/harbor/", nil, http.StatusUnauthorized},
		{"Harbor", "GET", "/at/harbor/", map[string]string{"Cookie": harbor}, http.StatusOK},
		{"Harbor at Hillside's", "GET", "/at/hillside/", map[string]string{"Cookie": harbor}, http.StatusUnauthorized},
		{"a clinic at the trail", "GET", "/trail", map[string]string{"Cookie": harbor}, http.StatusUnauthorized},
		{"a cookie at the API", "GET", "/api/patients", map[string]string{"Cookie": harbor}, http.StatusUnauthorized},
		{"a forged token", "GET", "/api/patients", map[string]string{"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, http.StatusUnauthorized},
		{"a scan without a token", "GET", "/objects/x", nil, http.StatusForbidden},
	} {
		answer := send(c.method, c.path, c.header)
		if answer.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.what, answer.StatusCode, c.want)
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", c.what, csp)
		}
	}
}
