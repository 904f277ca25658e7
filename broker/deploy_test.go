package broker_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// family is a metric as a broker's /metrics shows it.
type family struct {
	typ    string // counter, gauge, histogram
	labels map[string]bool
}

// foreign returns the metrics that are not the broker's: the scraper's own, and node_exporter's.
func foreign() map[string]family {
	mounted := map[string]bool{"mountpoint": true}
	return map[string]family{
		"up":                          {typ: "gauge"},
		"node_filesystem_avail_bytes": {typ: "gauge", labels: mounted},
		"node_filesystem_size_bytes":  {typ: "gauge", labels: mounted},
	}
}

// families returns what a broker's /metrics has, after it was used for a little.
func families(t *testing.T) map[string]family {
	t.Helper()
	b := brokertest.Start(t, broker.Config{SealAge: 100 * time.Millisecond})
	createTopic(t, b.Addrs, "t", 1)
	_, err := newProducer(t, b.Addrs).Send(t.Context(), &client.Message{Topic: "t", Body: []byte("x")})
	must(t, err)
	const noSuchCode = 29_999
	if _, err := newAdmin(t, b.Addrs).Request(t.Context(), "ask for what there is not", b.Addrs.Broker, noSuchCode, nil); err == nil {
		t.Error("an unknown request was served")
	}
	var page string
	eventually(t, 30*time.Second, "a segment is committed", func() bool {
		_, page = get(t, b.Addrs, "/metrics")
		return strings.Contains(page, "\nvarve_seal_segments_total ") && !strings.Contains(page, "\nvarve_seal_segments_total 0\n")
	})
	out := foreign()
	series := regexp.MustCompile(`^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`([a-z_]\w*)="`)
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if name, typ, ok := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " "); ok && strings.HasPrefix(line, "# TYPE ") {
			out[name] = family{typ: typ, labels: map[string]bool{}}
			continue
		}
		m := series.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		f, _, ok := lookup(out, m[1])
		if !ok {
			t.Fatalf("a series without a type: %s", line)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			f.labels[l[1]] = true
		}
	}
	return out
}

// lookup finds the family that has a series of a name; suffix is that of a histogram's series.
func lookup(all map[string]family, name string) (f family, suffix string, ok bool) {
	if f, ok = all[name]; ok {
		return f, "", f.typ != "histogram" // which has no series of its plain name
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, cut := strings.CutSuffix(name, suffix)
		if f = all[base]; cut && (f.typ == "histogram" || f.typ == "summary" && suffix != "_bucket") {
			return f, suffix, true
		}
	}
	return family{}, "", false
}

// exprChecker checks expressions of Prometheus, well enough for those of ours.
type exprChecker struct {
	all                                            map[string]family
	selector, matcher, grouping, rateOf, quantiles *regexp.Regexp
}

func newExprChecker(all map[string]family) exprChecker {
	return exprChecker{
		all:       all,
		selector:  regexp.MustCompile(`\b((?:varve|process|go|node|promhttp)_\w+|up)\b(\{[^}]*\})?`),
		matcher:   regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`),
		grouping:  regexp.MustCompile(`\bby\s*\(([^)]*)\)`),
		rateOf:    regexp.MustCompile(`\b(?:rate|irate|increase)\(\s*$`),
		quantiles: regexp.MustCompile(`\bhistogram_quantile\(`),
	}
}

// faults says which metrics of an expression are not there, lack the labels that it asks for, or are not of the type that its functions want.
func (c exprChecker) faults(expr string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	known := map[string]bool{"job": true, "instance": true} // every scrape adds these
	found := c.selector.FindAllStringSubmatchIndex(expr, -1)
	if len(found) == 0 {
		fault("no metric in %q", expr)
	}
	buckets := false
	for _, at := range found {
		name := expr[at[2]:at[3]]
		f, suffix, ok := lookup(c.all, name)
		if !ok {
			fault("a broker has no metric %s", name)
			continue
		}
		maps.Copy(known, f.labels)
		buckets = buckets || suffix == "_bucket"
		switch counts := f.typ == "counter" || suffix != ""; {
		case c.rateOf.MatchString(expr[:at[2]]) && !counts:
			fault("rate or increase of %s, which is a %s", name, f.typ)
		case f.typ == "counter" != strings.HasSuffix(name, "_total"):
			fault("%s is a %s", name, f.typ)
		}
		if at[4] < 0 {
			continue
		}
		for _, m := range c.matcher.FindAllStringSubmatch(expr[at[4]:at[5]], -1) {
			if label := m[1]; !f.labels[label] && label != "job" && label != "instance" {
				fault("%s has no label %s", name, label)
			}
		}
	}
	for _, by := range c.grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(by[1], ",") {
			if label = strings.TrimSpace(label); !known[label] {
				fault("by (%s): no metric in %q has it", label, expr)
			}
		}
	}
	if c.quantiles.MatchString(expr) && (!buckets || !strings.Contains(expr, "le)")) {
		fault("histogram_quantile needs buckets by le: %q", expr)
	}
	return faults
}

func readDeploy(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	must(t, err)
	return b
}

// decode turns what a YAML or JSON file has into v.
func decode(t *testing.T, name string, v any) {
	t.Helper()
	b := readDeploy(t, name)
	if strings.HasSuffix(name, ".yaml") {
		m, err := yaml.Parser().Unmarshal(b)
		must(t, err)
		b, err = json.Marshal(m)
		must(t, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type alertRule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type alertFile struct {
	Groups []struct {
		Name  string      `json:"name"`
		Rules []alertRule `json:"rules"`
	} `json:"groups"`
}

type dashboard struct {
	Title         string  `json:"title"`
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int    `json:"id"`
	Type       string `json:"type"`
	Title      string `json:"title"`
	Datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	} `json:"datasource"`
	GridPos struct{ H, W, X, Y int } `json:"gridPos"`
	Targets []struct {
		RefID string `json:"refId"`
		Expr  string `json:"expr"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// TestDeployMetrics: alerts and dashboard ask for what a broker has.
func TestDeployMetrics(t *testing.T) {
	t.Parallel()
	check := newExprChecker(families(t))
	checkExpr := func(where, expr string) {
		for _, fault := range check.faults(expr) {
			t.Errorf("%s: %s", where, fault)
		}
	}
	var alerts alertFile
	decode(t, "deploy/alerts/varve.rules.yaml", &alerts)
	rules := 0
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			checkExpr("alert "+r.Alert, r.Expr)
			rules++
		}
	}
	var board dashboard
	decode(t, "deploy/grafana/varve.json", &board)
	targets := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			checkExpr("panel "+p.Title, target.Expr)
			targets++
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			checkExpr("variable "+v.Name, v.Definition)
		}
	}
	if rules == 0 || targets == 0 {
		t.Errorf("%d alerts, %d targets", rules, targets)
	}
}

// TestDeployCheck: the check of expressions finds what it is there for.
func TestDeployCheck(t *testing.T) {
	t.Parallel()
	check := newExprChecker(map[string]family{
		"varve_a_total": {typ: "counter", labels: map[string]bool{"kind": true}}, "varve_b": {typ: "gauge"}, "varve_c_seconds": {typ: "histogram", labels: map[string]bool{"le": true}},
	})
	for _, c := range []struct{ name, expr, want string }{
		{"a counter's rate", `sum by (kind) (rate(varve_a_total{kind="x",job="y"}[5m])) > 0`, ""},
		{"a gauge", `varve_b{instance="i"} > 1`, ""},
		{"a quantile", `histogram_quantile(0.9, sum by (le) (rate(varve_c_seconds_bucket[5m])))`, ""},
		{"unknown", `varve_b > 1 and varve_d > 1`, "no metric varve_d"},
		{"a gauge's rate", `rate(varve_b[5m])`, "which is a gauge"},
		{"a histogram's plain name", `varve_c_seconds > 1`, "no metric varve_c_seconds"},
		{"a suffix that is not there", `varve_b_bucket > 1`, "no metric varve_b_bucket"},
		{"an unknown label", `varve_a_total{kin="x"}`, "no label kin"},
		{"an unknown group", `sum by (kin) (varve_a_total)`, "by (kin)"},
		{"a quantile without buckets", `histogram_quantile(0.9, sum by (le) (rate(varve_c_seconds_count[5m])))`, "needs buckets"},
		{"a quantile without le", `histogram_quantile(0.9, rate(varve_c_seconds_bucket[5m]))`, "needs buckets"},
		{"no metric", `1 > 0`, "no metric"},
	} {
		if got := strings.Join(check.faults(c.expr), "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// anchors returns the anchors of a page's headings, as they are made from them.
func anchors(page string) map[string]bool {
	out := map[string]bool{}
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for line := range strings.Lines(page) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			out[strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")] = true
		}
	}
	return out
}

// TestDeployAlerts: each alert says how bad it is, what it means, and where its runbook is; each runbook has its alert.
func TestDeployAlerts(t *testing.T) {
	t.Parallel()
	var file alertFile
	decode(t, "deploy/alerts/varve.rules.yaml", &file)
	page := string(readDeploy(t, "docs/operations.md"))
	there := anchors(page)
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || seen[r.Alert] {
				t.Errorf("group %s: alert %q is without a name, or there twice", g.Name, r.Alert)
			}
			seen[r.Alert] = true
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				t.Errorf("%s: severity is %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: no summary or no description", r.Alert)
			}
			url, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
			if !strings.HasSuffix(url, "/docs/operations.md") || !there[anchor] || anchor != strings.ToLower(r.Alert) {
				t.Errorf("%s: docs/operations.md has no runbook under #%s", r.Alert, anchor)
			}
			if _, err := time.ParseDuration(cmp.Or(r.For, "0s")); err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (Varve[A-Z]\w+)$`).FindAllStringSubmatch(page, -1) {
		if !seen[m[1]] {
			t.Errorf("docs/operations.md has a runbook for %s, which is no alert", m[1])
		}
	}
}

// TestDeployDashboard: what Grafana needs to import it, and panels that do not lie on each other.
func TestDeployDashboard(t *testing.T) {
	t.Parallel()
	var d dashboard
	decode(t, "deploy/grafana/varve.json", &d)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 36 {
		t.Errorf("title %q, uid %q, schema version %d", d.Title, d.UID, d.SchemaVersion)
	}
	vars := map[string]bool{}
	for _, v := range d.Templating.List {
		vars[v.Name] = true
	}
	used := regexp.MustCompile(`\$\{?(\w+)`)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.Title == "" || p.ID == 0 || ids[p.ID] {
			t.Errorf("panel %d, %q: no title, or an id that is there twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q: at %+v, a row has 24 columns", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap", other, p.Title)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: data source %+v, unit %q, %d targets", p.Title, p.Datasource, p.FieldConfig.Defaults.Unit, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.RefID == "" || refs[target.RefID] {
				t.Errorf("panel %q: refId %q", p.Title, target.RefID)
			}
			refs[target.RefID] = true
			for _, m := range used.FindAllStringSubmatch(target.Expr, -1) {
				if !vars[m[1]] && !strings.HasPrefix(m[1], "__") {
					t.Errorf("panel %q: there is no variable %s", p.Title, m[1])
				}
			}
		}
	}
	if !vars["datasource"] {
		t.Error("no variable datasource")
	}
}

// TestDeployCompose: images are pinned, ports are loopback unless somebody says otherwise, and an orderly end has its time.
func TestDeployCompose(t *testing.T) {
	t.Parallel()
	var c struct {
		Services map[string]struct {
			Image string   `json:"image"`
			Ports []string `json:"ports"`
			Stop  string   `json:"stop_grace_period"`
		} `json:"services"`
		Volumes map[string]any `json:"volumes"`
	}
	decode(t, "deploy/compose.yaml", &c)
	for _, name := range []string{"varve", "etcd", "minio", "bucket"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s, only %v", name, slices.Sorted(maps.Keys(c.Services)))
		}
	}
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:(v?\d+\.\d+\.\d+|RELEASE\.\S+)$`)
	for name, s := range c.Services {
		if name != "varve" && !pinned.MatchString(s.Image) {
			t.Errorf("service %s: image %s is not pinned", name, s.Image)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") && !strings.HasPrefix(p, "${VARVE_PUBLISH:-127.0.0.1}:") {
				t.Errorf("service %s: port %s is open to others", name, p)
			}
		}
	}
	unit := string(readDeploy(t, "deploy/systemd/varve.service"))
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(.*)$`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("varve.service has no TimeoutStopSec")
	}
	for where, text := range map[string]string{"compose.yaml": c.Services["varve"].Stop, "varve.service": stop[1]} {
		// Ten seconds for the last seal, and up to five for each step after it.
		if d, err := time.ParseDuration(text); err != nil || d < 60*time.Second {
			t.Errorf("%s: %q is not enough for an orderly end", where, text)
		}
	}
}
