package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

const (
	examples   = "deploy/gitops/examples"
	exclusions = "deploy/gitops/argocd/resource-exclusions.yaml"
)

// checkExclusions fails unless the snippet excludes records, and no other kind of this group.
func checkExclusions() error {
	objects, err := documents(exclusions)
	if err != nil {
		return fmt.Errorf("%s: %w", exclusions, err)
	}
	if len(objects) != 1 {
		return fmt.Errorf("%s: %d objects instead of one", exclusions, len(objects))
	}
	var rules []struct {
		APIGroups []string `json:"apiGroups"`
		Kinds     []string `json:"kinds"`
		Clusters  []string `json:"clusters"`
	}
	text, _, err := unstructured.NestedString(objects[0].Object, "data", "resource.exclusions")
	if err != nil {
		return fmt.Errorf("%s: %w", exclusions, err)
	}
	if err := utilyaml.Unmarshal([]byte(text), &rules); err != nil {
		return fmt.Errorf("%s: %w", exclusions, err)
	}
	for _, kind := range append(slices.Clone(kinds), "PasswordResetRecord") {
		excluded := false
		for _, rule := range rules {
			inGroup := slices.ContainsFunc(rule.APIGroups, func(glob string) bool {
				matches, err := path.Match(glob, group)
				return err == nil && matches
			})
			named := slices.Contains(rule.Kinds, kind) || slices.Contains(rule.Kinds, "*")
			excluded = excluded || inGroup && named && len(rule.Clusters) == 0
		}
		if excluded != (kind == "PasswordResetRecord") {
			return fmt.Errorf("%s: %s, excluded: %t", exclusions, kind, excluded)
		}
	}
	return nil
}

// checkExamples checks that the example repositories follow docs/gitops.md, and returns the number
// of their requests.
func checkExamples() (int, error) {
	requests := 0
	err := filepath.WalkDir(examples, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".yaml" {
			return err
		}
		objects, err := documents(file)
		for _, object := range objects {
			switch object.GetKind() {
			case "PasswordResetRequest":
				requests++
				err = errors.Join(err, checkRequest(object, strings.HasPrefix(file, examples+"/argocd/")))
			case "Application":
				err = errors.Join(err, requireTrue(object, "spec", "syncPolicy", "automated", "prune"))
			case "Kustomization":
				if strings.HasPrefix(object.GetAPIVersion(), "kustomize.toolkit.fluxcd.io/") {
					err = errors.Join(err, requireTrue(object, "spec", "prune"))
				}
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	})
	if err == nil && requests == 0 {
		err = errors.New(examples + " contains no request")
	}
	return requests, err
}

func documents(file string) ([]*unstructured.Unstructured, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(opened, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

func requireTrue(object *unstructured.Unstructured, field ...string) error {
	if value, _, err := unstructured.NestedBool(object.Object, field...); err != nil || !value {
		return fmt.Errorf("%s of %s is not true", strings.Join(field, "."), object.GetKind())
	}
	return nil
}

// checkRequest checks a request of an example repository.
func checkRequest(request *unstructured.Unstructured, argo bool) error {
	spec, _, _ := unstructured.NestedMap(request.Object, "spec")
	if request.GetName() == "" || spec["notAfter"] == nil {
		return errors.New("a request in Git needs a name of its own and notAfter")
	}
	for _, field := range []string{"suspend", "approved", "approvedBy", "requestedBy", "ttlSecondsAfterFinished"} {
		if spec[field] != nil {
			return fmt.Errorf("%s of a request is not for Git", field)
		}
	}
	annotations := request.GetAnnotations()
	if argo && (annotations["argocd.argoproj.io/sync-wave"] == "" ||
		annotations["argocd.argoproj.io/ignore-healthcheck"] != "true") {
		return errors.New("the request has no sync-wave or no ignore-healthcheck")
	}
	return nil
}
