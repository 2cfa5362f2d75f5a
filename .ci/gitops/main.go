// The program checks what deploy/gitops says to Argo CD and Flux: without an argument it checks, and
// with `generate` it writes the generated files. It runs in the root of the repository.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := work(len(os.Args) > 1 && os.Args[1] == "generate"); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func work(generate bool) error {
	states, err := readStates()
	if err != nil {
		return err
	}
	files, err := generated(states)
	if err != nil {
		return err
	}
	if generate {
		return write(files)
	}
	if err := checkFiles(files); err != nil {
		return err
	}
	tests := 0
	for _, kind := range kinds {
		run, err := checkHealth(kind)
		if err != nil {
			return err
		}
		tests += run
	}
	run, err := checkActions(states)
	if err != nil {
		return err
	}
	if err := checkExclusions(); err != nil {
		return err
	}
	examples, err := checkExamples()
	if err != nil {
		return err
	}
	fmt.Printf("==> %d states judged by Argo CD's Lua and both kstatus libraries, %d tests in Argo CD's layout, %d examples\n",
		len(states), tests+run, examples)
	return nil
}
