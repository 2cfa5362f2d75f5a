package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const (
	group          = "cognito-reset.dev"
	customizations = "deploy/gitops/argocd/resource_customizations/" + group + "/"
	page           = "docs/gitops.md"
	tableBegins    = "<!-- states: written by make generate-gitops -->\n"
	tableEnds      = "<!-- end of states -->"
	generatedNote  = "# Generated from resource_customizations: run `make generate-gitops` after a change.\n"
)

var (
	kinds = []string{"PasswordResetRequest", "UserPoolGrant", "UserPoolHold"}
	// The objects of the tests of actions, by the name of their file.
	actionStates = map[string]string{"waiting": "waiting", "ended": "reset"}
)

// generated returns the text of every generated file.
func generated(states []state) (map[string]string, error) {
	files := map[string]string{}
	for _, s := range states {
		path := customizations + s.kind() + "/testdata/" + s.slug() + ".yaml"
		if _, ok := files[path]; !ok && !s.isDeleted() {
			if err := addObject(files, path, s.object); err != nil {
				return nil, err
			}
		}
	}
	if err := addActionObjects(files, states); err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if err := addHealthTests(files, kind); err != nil {
			return nil, err
		}
	}
	data, err := configMapData()
	if err != nil {
		return nil, err
	}
	files["deploy/gitops/argocd/argocd-cm.yaml"] = generatedNote +
		"#\n#   kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n" + indent(data, 2)
	files["deploy/gitops/argocd/values.yaml"] = generatedNote +
		"# Values of the Helm chart argo-cd.\nconfigs:\n  cm:\n" + indent(data, 4)
	table, err := table(states)
	if err != nil {
		return nil, err
	}
	text, err := read(page)
	if err != nil {
		return nil, err
	}
	before, rest, begins := strings.Cut(text, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		return nil, fmt.Errorf("%s has no place for the table of states", page)
	}
	files[page] = before + tableBegins + "\n" + table + "\n" + tableEnds + after
	return files, nil
}

func addObject(files map[string]string, path string, object map[string]any) error {
	text, err := yaml.Marshal(object)
	files[path] = string(text)
	return err
}

// addActionObjects adds what the action suspend reads, and what it has to return.
func addActionObjects(files map[string]string, states []state) error {
	directory := customizations + "PasswordResetRequest/actions/testdata/"
	for name, wanted := range actionStates {
		for _, s := range states {
			path := directory + name + ".yaml"
			if _, ok := files[path]; ok || s.name != wanted {
				continue
			}
			if err := addObject(files, path, s.object); err != nil {
				return err
			}
			if name != "waiting" {
				continue
			}
			suspended := runtime.DeepCopyJSON(s.object)
			if err := unstructured.SetNestedField(suspended, true, "spec", "suspend"); err != nil {
				return err
			}
			if err := addObject(files, directory+"suspended.yaml", suspended); err != nil {
				return err
			}
		}
	}
	return nil
}

// configMapData returns the entries of argocd-cm, from the scripts.
func configMapData() (string, error) {
	var text strings.Builder
	for _, kind := range kinds {
		script, err := read(customizations + kind + "/health.lua")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "resource.customizations.health.%s_%s: |\n%s", group, kind, indent(script, 2))
	}
	actions := customizations + "PasswordResetRequest/actions/"
	discovery, err := read(actions + "discovery.lua")
	if err != nil {
		return "", err
	}
	action, err := read(actions + "suspend/action.lua")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&text, "resource.customizations.actions.%s_PasswordResetRequest: |\n", group)
	fmt.Fprintf(&text, "  discovery.lua: |\n%s", indent(discovery, 4))
	fmt.Fprintf(&text, "  definitions:\n    - name: suspend\n      action.lua: |\n%s", indent(action, 8))
	return text.String(), nil
}

func indent(text string, spaces int) string {
	var indented strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			indented.WriteString(strings.Repeat(" ", spaces))
		}
		indented.WriteString(line)
	}
	return indented.String()
}

func write(files map[string]string) error {
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// checkFiles fails if a generated file differs, is missing, or is left over.
func checkFiles(files map[string]string) error {
	for _, path := range sortedKeys(files) {
		if stored, err := read(path); err != nil || stored != files[path] {
			return fmt.Errorf("%s is not up to date: run make generate-gitops", path)
		}
	}
	stored, err := filepath.Glob(customizations + "*/testdata/*")
	if err != nil {
		return err
	}
	for _, path := range stored {
		if _, ok := files[path]; !ok {
			return fmt.Errorf("%s belongs to no state: delete it", path)
		}
	}
	return nil
}
