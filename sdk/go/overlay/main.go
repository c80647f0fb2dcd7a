// Makes the files for `go build -overlay`, with which every client of the AWS SDK in a program is told of, without a
// change of the program's source:
//
//	overlay -o FOLDER          in the program's module
//	go build -overlay FOLDER/overlay.json
//
// FOLDER is made anew; it must be there for as long as the program is built.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	program := flag.String("for", ".", "a folder of the program's module")
	out := flag.String("o", "", "the folder that is made: outside of the program's module, or ignored by it")
	shim := flag.String("shim", ownFolder(), "the folder of the shim's sources")
	exit := flag.Bool("exit", false, "tell the end of the process too: adds one file to the standard library's runtime/debug")
	flag.Parse()
	if err := run(*program, *out, *shim, *exit); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
	fmt.Println(filepath.Join(absolute(*out), "overlay.json"))
}

// ownFolder is where this file was when it was compiled: with `go run`, in the shim's sources.
func ownFolder() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return ""
	}
	return filepath.Dir(filepath.Dir(file))
}

func absolute(path string) string {
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return whole
}

func run(program, out, shim string, exit bool) error {
	if out == "" {
		return fmt.Errorf("-o is missing: the folder that is made")
	}
	out = absolute(out)
	if err := makeAnew(out); err != nil {
		return err
	}
	build := &build{program: absolute(program), out: out, replace: map[string]string{}}
	steps := []func() error{build.locate, build.detach, build.patchSmithy, func() error { return build.addShim(shim) }}
	if exit {
		steps = append(steps, build.addExit)
	}
	for _, step := range append(steps, build.write) {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// The file that says that a folder was made here, and may be removed.
const mark = "made-by-rolecall-overlay"

// makeAnew removes what an earlier run made, and nothing that it did not make.
func makeAnew(out string) error {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(out, mark)); err != nil {
			return fmt.Errorf("%s is not empty, and no earlier run made it", out)
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, mark), nil, 0o644)
}
