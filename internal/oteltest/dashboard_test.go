package oteltest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/storage/dialect"
	"github.com/strongroom-go/strongroom/storage/stack"
)

const observability = "../../examples/clinic/observability/"

// gathered are the series that Prometheus gets of a service that does everything once, with their labels.
func gathered(t *testing.T) map[string][]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo())
	must(t, err)
	w := newWorld(t, dialect.SQLite, func(_ *stack.Config, telemetry *audit.Telemetry) {
		telemetry.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	})
	w.use(t)
	families, err := registry.Gather()
	must(t, err)
	series := map[string][]string{}
	for _, f := range families {
		labels := []string{"instance", "job"} // Prometheus's own
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
		}
		if f.Metric[0].Histogram == nil {
			series[f.GetName()] = labels
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			series[f.GetName()+suffix] = append(slices.Clone(labels), "le")
		}
	}
	return series
}

var (
	seriesNames = regexp.MustCompile(`\b(?:strongroom|db)_[a-z0-9_]+\b`)
	matchers    = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	labelNames  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	groupings   = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
)

// unknown returns what an expression asks for that Prometheus does not get.
func unknown(expr string, series map[string][]string) (wrong []string) {
	known := map[string]bool{}
	var used []string
	bare := groupings.ReplaceAllString(matchers.ReplaceAllString(expr, "$1"), "")
	for _, name := range seriesNames.FindAllString(bare, -1) {
		used = append(used, name)
		if series[name] == nil {
			wrong = append(wrong, name)
		}
		for _, l := range series[name] {
			known[l] = true
		}
	}
	if len(used) == 0 {
		wrong = append(wrong, "no series")
	}
	for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
		for _, l := range labelNames.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(series[m[1]], l[1]) {
				wrong = append(wrong, m[1]+"{"+l[1]+"}")
			}
		}
	}
	for _, g := range groupings.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); !known[label] {
				wrong = append(wrong, "by "+label)
			}
		}
	}
	return wrong
}

// panel is what a dashboard asks, and shows.
type panel struct {
	Title   string
	Targets []struct{ Expr, LegendFormat string }
}

func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	series := gathered(t)
	asked := map[string]bool{}
	check := func(where, expr string) {
		t.Helper()
		for _, w := range unknown(expr, series) {
			t.Errorf("%s asks for %s, which nobody exports: %s", where, w, expr)
		}
		for _, name := range seriesNames.FindAllString(expr, -1) {
			asked[name] = true
		}
	}
	var dashboard struct{ Panels []panel }
	text, err := os.ReadFile(observability + "dashboard.json")
	must(t, err)
	must(t, json.Unmarshal(text, &dashboard))
	legend := regexp.MustCompile(`\{\{\s*([a-z_]+)\s*\}\}`)
	count := 0
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			count++
			check("the panel "+p.Title, q.Expr)
			for _, l := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !strings.Contains(q.Expr, l[1]) {
					t.Errorf("the panel %s shows %s, which its query drops", p.Title, l[1])
				}
			}
		}
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	text, err = os.ReadFile(observability + "alerts.yml")
	must(t, err)
	must(t, yaml.Unmarshal(text, &rules))
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			count++
			check("the alert "+r.Alert, r.Expr)
			if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("the alert %s does not say what it means, or what to do", r.Alert)
			}
			for _, l := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
				if len(series) > 0 && !strings.Contains(r.Expr, l[1]) && !slices.Contains(series[seriesNames.FindString(r.Expr)], l[1]) {
					t.Errorf("the alert %s shows %s, which there is not", r.Alert, l[1])
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d expressions were found", count)
	}
	for name := range series { // whatever is exported is of use to somebody
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !asked[name] && !asked[base+"_bucket"] && !asked[base+"_count"] {
			t.Errorf("%s is on no panel and in no rule", name)
		}
	}
}

// The test above sees what is wrong.
func TestUnknownIsFound(t *testing.T) {
	series := map[string][]string{"strongroom_a_total": {"strongroom_reason"}}
	for expr, want := range map[string]int{
		`sum by (strongroom_reason) (rate(strongroom_a_total{strongroom_reason!="x"}[5m]))`: 0,
		`rate(strongroom_b_total[5m])`:                           1,
		`rate(strongroom_a_total{strongroom_tenant="x"}[5m])`:    1,
		`sum by (strongroom_tenant) (rate(strongroom_a_total))`:  1,
		`rate(strongroom_a_total{strongroom_reason=~"x"}[5m])`:   0,
		`rate(strongroom_a_seconds_total{strongroom_b="x"}[5m])`: 2,
		`up`: 1,
	} {
		if got := unknown(expr, series); len(got) != want {
			t.Errorf("%s: %q", expr, got)
		}
	}
}
