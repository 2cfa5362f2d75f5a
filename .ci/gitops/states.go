package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	upstream "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

const statesFile = "src/core/tests/conditions/states.jsonl"

// state is a line of the file of all states.
type state struct {
	name     string
	expected string // the kstatus that the tests in Rust expect
	object   map[string]any
}

func readStates() ([]state, error) {
	file, err := os.Open(statesFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var states []state
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: %w", statesFile, err)
		}
		name, _, _ := unstructured.NestedString(line, "state")
		expected, _, _ := unstructured.NestedString(line, "kstatus")
		object, _, _ := unstructured.NestedMap(line, "object")
		states = append(states, state{name, expected, object})
	}
	return states, lines.Err()
}

func (s state) kind() string { return (&unstructured.Unstructured{Object: s.object}).GetKind() }

func (s state) isDeleted() bool {
	return (&unstructured.Unstructured{Object: s.object}).GetDeletionTimestamp() != nil
}

// slug returns the name of the state for a file.
func (s state) slug() string {
	name := strings.ToLower(strings.TrimPrefix(s.name, s.kind()+": "))
	return strings.NewReplacer(": ", "-", ", ", "-", " ", "-", "_", "-").Replace(name)
}

// verdict is what three tools say of an object.
type verdict struct{ argo, upstream, flux string }

// judge asks Argo CD's Lua, with and without open libraries, and both kstatus libraries.
func judge(s state) (verdict, error) {
	argo, err := health(s)
	if err != nil {
		return verdict{}, err
	}
	object := &unstructured.Unstructured{Object: s.object}
	one, err := upstream.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	other, err := flux.Compute(object)
	if err != nil {
		return verdict{}, err
	}
	if one.Status.String() != s.expected {
		return verdict{}, fmt.Errorf("kstatus is %s, and the tests of src/core expect %s", one.Status, s.expected)
	}
	return verdict{argo, one.Status.String(), other.Status.String()}, nil
}

// health returns Argo CD's health of an object. A deleted one does not reach the script.
func health(s state) (string, error) {
	if s.isDeleted() {
		return "Progressing", nil
	}
	status, _, err := runHealth(s.kind(), s.object)
	return status, err
}

var healthCodes = []string{"Healthy", "Suspended", "Progressing", "Degraded"}

// runHealth runs the script of a kind in both ways, which have to agree.
func runHealth(kind string, object map[string]any) (status, message string, err error) {
	script, err := read(customizations + kind + "/health.lua")
	if err != nil {
		return "", "", err
	}
	var results [2]string
	for index, open := range []bool{false, true} {
		result, err := run(script, object, open)
		if err != nil {
			return "", "", fmt.Errorf("health.lua of %s, open libraries %t: %w", kind, open, err)
		}
		fields, ok := result.(map[string]any)
		if !ok {
			return "", "", fmt.Errorf("health.lua of %s returns no object", kind)
		}
		status, _ = fields["status"].(string)
		message, _ = fields["message"].(string)
		if len(fields) != 2 || message == "" || !slices.Contains(healthCodes, status) {
			return "", "", fmt.Errorf("health.lua of %s returns %v", kind, fields)
		}
		results[index] = status + "\n" + message
	}
	if results[0] != results[1] {
		return "", "", fmt.Errorf("health.lua of %s depends on the libraries", kind)
	}
	return status, message, nil
}

// table returns the table of docs/gitops.md. Objects in the same state are judged alike.
func table(states []state) (string, error) {
	verdicts := map[string]verdict{}
	counts := map[string]int{}
	var order []string
	for _, s := range states {
		found, err := judge(s)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.name, err)
		}
		if known, ok := verdicts[s.name]; !ok {
			order = append(order, s.name)
		} else if known != found {
			return "", fmt.Errorf("%s: judged as %v, and with another reason as %v", s.name, known, found)
		}
		verdicts[s.name] = found
		counts[s.name]++
	}
	slices.SortStableFunc(order, func(a, b string) int { return rank(a) - rank(b) })
	var text strings.Builder
	text.WriteString("| state | reasons | Argo CD | kstatus, `sigs.k8s.io/cli-utils` | kstatus, `fluxcd/cli-utils` |\n|---|---|---|---|---|\n")
	for _, name := range order {
		v := verdicts[name]
		fmt.Fprintf(&text, "| %s | %d | %s | %s | %s |\n", name, counts[name], v.argo, v.upstream, v.flux)
	}
	return text.String(), nil
}

// rank puts the states of requests into the order of their life, and grants and holds behind them.
func rank(name string) int {
	first, _, _ := strings.Cut(name, ":")
	return slices.Index([]string{"unseen", "waiting", "reset", "failed", "unknown", "UserPoolGrant", "UserPoolHold"}, first)
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
