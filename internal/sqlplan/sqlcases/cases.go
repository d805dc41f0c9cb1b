package sqlcases

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

//go:embed statements.txt
var statements string

// Aim is what a statement should become.
type Aim string

// The aims; statements.txt says what each means.
const (
	Free   Aim = "free"
	Inside Aim = "inside"
	Accept Aim = "accept"
	Check  Aim = "check"
	Refuse Aim = "refuse"
)

// Case is one statement.
type Case struct {
	Aim Aim
	SQL string
	// Hand is the statement with the tenant written by hand; for Free and Inside.
	Hand string
	// Alone is the statement of a database without other tenants, usually SQL.
	Alone string

	args string
}

// Cases returns the statements.
func Cases() ([]Case, error) {
	var cases []Case
	var c *Case
	lines := bufio.NewScanner(strings.NewReader(statements))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		key, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" && c != nil && c.SQL != "":
			cases, c = append(cases, *c), nil
		case line == "" || strings.HasPrefix(line, "#"):
		case c == nil && rest == "":
			c = &Case{Aim: Aim(key)}
		case c != nil && c.SQL == "":
			c.SQL, c.Alone = line, line
		case c != nil && key == "hand":
			c.Hand = rest
		case c != nil && key == "alone":
			c.Alone = rest
		case c != nil && key == "args":
			c.args = rest
		default:
			return nil, fmt.Errorf("statements.txt:%d: %q", n, line)
		}
	}
	if c != nil {
		cases = append(cases, *c)
	}
	for _, c := range cases {
		if err := c.valid(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.SQL, err)
		}
	}
	return cases, lines.Err()
}

func (c *Case) valid() error {
	switch c.Aim {
	case Free, Inside, Accept, Check, Refuse:
	default:
		return fmt.Errorf("unknown aim %q", c.Aim)
	}
	if indexed := c.Aim == Free || c.Aim == Inside; indexed != (c.Hand != "") {
		return fmt.Errorf("a statement by hand belongs to %s and %s", Free, Inside)
	}
	_, err := c.Args("", time.Time{})
	return err
}

// ByHand is Hand for a tenant.
func (c *Case) ByHand(tenant string) string { return strings.ReplaceAll(c.Hand, "@t", quote(tenant)) }

// Args returns the arguments for a tenant whose data is as of now. Integers are int64, lists []int64 or []string.
func (c *Case) Args(tenant string, now time.Time) ([]any, error) {
	if c.args == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(c.args))
	decoder.UseNumber()
	var values []any
	if err := decoder.Decode(&values); err != nil {
		return nil, fmt.Errorf("args: %w", err)
	}
	known := map[string]string{"@t": tenant, "@now": now.Add(-20 * time.Hour).Format(time.RFC3339), "@day": now.Add(-17 * time.Hour).Format(time.DateOnly)}
	for i, v := range values {
		if text, ok := v.(string); ok && known[text] != "" {
			v = known[text]
		}
		var err error
		if values[i], err = argument(v); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func argument(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if n, ok := v.(json.Number); ok {
			return n.Int64()
		}
		return v, nil
	}
	var ints []int64
	var texts []string
	for _, e := range list {
		switch e := e.(type) {
		case json.Number:
			n, err := e.Int64()
			if err != nil {
				return nil, err
			}
			ints = append(ints, n)
		case string:
			texts = append(texts, e)
		}
	}
	switch len(list) {
	case len(ints):
		return ints, nil
	case len(texts):
		return texts, nil
	}
	return nil, fmt.Errorf("args: a list of %d holds something else than integers or texts", len(list))
}

// Key names a case in one line: its aim, its statement and its arguments.
func (c *Case) Key() string { return strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Aim, c.SQL, c.args)) }
