package report

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"sync"
)

//go:embed page.html style.css filter.js
var files embed.FS

// page is what the template shows. All texts in it are escaped there.
type page struct {
	Title, Made string
	Policy      string
	Style       template.CSS
	Script      template.JS
	Verdict     verdict
	Selection   []fact
	Logs        []logView
	Uncovered   []string
	Tiles       []fact
	Timeline    timelineView
	Sections    []section
	Controls    []controlsView
	Cannot      []string
}

// fact is a name and a value.
type fact struct{ Name, Value, Class string }

// section is a part of the page with one table or some.
type section struct {
	ID, Title string
	Lead      []string
	Tables    []tableView
}

// tableView is a table; one without rows is a sentence that says so.
type tableView struct {
	ID, Caption, Empty string
	Columns            []columnView
	Rows               []rowView
	More               string // what is not shown
	Choices            []choice
	Filter             bool
	Wide               bool // scrolls on a narrow screen, where others become lists
}

type columnView struct {
	Name    string
	Numeric bool
}

type rowView struct {
	Class string
	Cells []cellView
}

// cellView is one cell. The first column's cells are the rows' headings.
type cellView struct {
	Text, Sub, Class, Title string
	Label                   string // the column's name
	Head                    bool
}

// choice is a filter of a table by the values of one column.
type choice struct {
	Column  int
	Name    string
	Options []string
}

// parts are what all pages have in common.
type parts struct {
	template *template.Template
	style    template.CSS
	script   template.JS
	policy   string
}

var loadParts = sync.OnceValues(func() (*parts, error) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return nil, err
	}
	script, err := files.ReadFile("filter.js")
	if err != nil {
		return nil, err
	}
	t, err := template.New("page.html").Funcs(template.FuncMap{"plus": func(a, b int) int { return a + b }}).ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	return &parts{
		template: t, style: template.CSS(style), script: template.JS(script),
		// Nothing is loaded, sent or embedded, and nothing runs or styles but what has these hashes.
		policy: "default-src 'none'; style-src '" + source(style) + "'; script-src '" + source(script) + "'; base-uri 'none'; form-action 'none'",
	}, nil
})

func source(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
