package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// healthTests is a health_test.yaml, in the layout of Argo CD.
type healthTests struct {
	Tests []struct {
		InputPath    string `json:"inputPath"`
		HealthStatus struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"healthStatus"`
	} `json:"tests"`
}

// actionTests is an action_test.yaml, in the layout of Argo CD.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string           `json:"inputPath"`
		Result    []map[string]any `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

func parse(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// object reads an object as the API server would return it: whole numbers are integers.
func object(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var read map[string]any
	return read, json.Unmarshal(text, &read)
}

// addHealthTests adds the health_test.yaml of a kind. Its states are written by hand, and kept; its
// messages are those of the objects, so that a message can change in the operator alone.
func addHealthTests(files map[string]string, kind string) error {
	path := customizations + kind + "/health_test.yaml"
	var tests healthTests
	if err := parse(path, &tests); err != nil {
		return err
	}
	for index, test := range tests.Tests {
		var input map[string]any
		text := files[customizations+kind+"/"+test.InputPath]
		if err := yaml.Unmarshal([]byte(text), &input); err != nil || input == nil {
			return fmt.Errorf("%s: %s is no state: remove it (%v)", path, test.InputPath, err)
		}
		if message := readyMessage(input); message != "" {
			tests.Tests[index].HealthStatus.Message = message
		}
	}
	text, err := yaml.Marshal(tests)
	files[path] = "# The messages are generated: make generate-gitops.\n" + string(text)
	return err
}

// readyMessage returns reason and message of the condition Ready.
func readyMessage(object map[string]any) string {
	conditions, _, _ := unstructured.NestedSlice(object, "status", "conditions")
	for _, condition := range conditions {
		if fields, _ := condition.(map[string]any); fields["type"] == "Ready" {
			return fmt.Sprintf("%s: %s", fields["reason"], fields["message"])
		}
	}
	return ""
}

// checkHealth runs the health_test.yaml of a kind, which has to name each file of testdata.
func checkHealth(kind string) (int, error) {
	directory := customizations + kind
	var tests healthTests
	if err := parse(directory+"/health_test.yaml", &tests); err != nil {
		return 0, err
	}
	var named []string
	for _, test := range tests.Tests {
		path := filepath.Join(directory, test.InputPath)
		named = append(named, path)
		input, err := object(path)
		if err != nil {
			return 0, err
		}
		status, message, err := runHealth(kind, input)
		if err != nil {
			return 0, err
		}
		if wanted := test.HealthStatus; status != wanted.Status || message != wanted.Message {
			return 0, fmt.Errorf("%s: %s, %q; expected %s, %q", path, status, message, wanted.Status, wanted.Message)
		}
	}
	stored, err := filepath.Glob(directory + "/testdata/*.yaml")
	if err != nil {
		return 0, err
	}
	slices.Sort(named)
	if !slices.Equal(named, stored) {
		return 0, fmt.Errorf("%s/health_test.yaml has %v, and testdata has %v", directory, named, stored)
	}
	return len(named), nil
}

const actions = customizations + "PasswordResetRequest/actions/"

// discover returns the actions that the interface offers, by both ways of running Lua.
func discover(input map[string]any) (map[string]any, error) {
	script, err := read(actions + "discovery.lua")
	if err != nil {
		return nil, err
	}
	closed, err := run(script, input, false)
	if err != nil {
		return nil, err
	}
	open, err := run(script, input, true)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(closed, open) {
		return nil, errors.New("discovery.lua depends on the libraries")
	}
	if list, ok := closed.([]any); ok && len(list) == 0 {
		return map[string]any{}, nil
	}
	found, ok := closed.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("discovery.lua returns %v", closed)
	}
	return found, nil
}

// checkActions runs action_test.yaml, and checks that suspend is the only action in any state.
func checkActions(states []state) (int, error) {
	var tests actionTests
	if err := parse(actions+"action_test.yaml", &tests); err != nil {
		return 0, err
	}
	for _, test := range tests.DiscoveryTests {
		input, err := object(actions + test.InputPath)
		if err != nil {
			return 0, err
		}
		found, err := discover(input)
		if err != nil {
			return 0, err
		}
		wanted := map[string]any{}
		for _, action := range test.Result {
			name, _ := action["name"].(string)
			delete(action, "name")
			wanted[name] = map[string]any(action)
		}
		if !reflect.DeepEqual(found, wanted) {
			return 0, fmt.Errorf("%s: the actions are %v; expected %v", test.InputPath, found, wanted)
		}
	}
	for _, test := range tests.ActionTests {
		input, err := object(actions + test.InputPath)
		if err != nil {
			return 0, err
		}
		wanted, err := object(actions + test.ExpectedOutputPath)
		if err != nil {
			return 0, err
		}
		if err := act(test.Action, input, wanted); err != nil {
			return 0, fmt.Errorf("%s: %w", test.InputPath, err)
		}
	}
	return len(tests.DiscoveryTests) + len(tests.ActionTests), suspendAlone(states)
}

// act runs an action in both ways. It may change nothing but what is wanted.
func act(action string, input, wanted map[string]any) error {
	script, err := read(actions + action + "/action.lua")
	if err != nil {
		return err
	}
	for _, open := range []bool{false, true} {
		output, err := run(script, runtime.DeepCopyJSON(input), open)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(output, any(wanted)) {
			return fmt.Errorf("%s returns %v; expected %v", action, output, wanted)
		}
	}
	return nil
}

func suspendAlone(states []state) error {
	scripts, err := filepath.Glob(customizations + "*/actions/*/action.lua")
	if err != nil {
		return err
	}
	if !slices.Equal(scripts, []string{actions + "suspend/action.lua"}) {
		return fmt.Errorf("suspend has to be the only action, and there are %v", scripts)
	}
	for _, s := range states {
		if s.kind() != "PasswordResetRequest" {
			continue
		}
		found, err := discover(s.object)
		if err != nil {
			return err
		}
		spec, _ := s.object["spec"].(map[string]any)
		status, _ := s.object["status"].(map[string]any)
		offered := status["outcome"] == "Pending" && spec["suspend"] != true
		if _, suspend := found["suspend"]; suspend != offered || len(found) > 1 {
			return fmt.Errorf("%s: the actions are %v", s.name, found)
		}
	}
	return nil
}
