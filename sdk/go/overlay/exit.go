package main

// The end of a process. Go tells no program of it; but its runtime has hooks for it, which only the standard library may use.
// So one file is added to a package of it that the shim imports anyway.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	door = `package debug

import "internal/runtime/exithook"

// RolecallAtExit has a function called when main returns, or anybody calls os.Exit.
func RolecallAtExit(end func()) { exithook.Add(exithook.Hook{F: end, RunOnFailure: true}) }
`
	atExit = `//go:build go1.24

package %s

import "runtime/debug"

func init() { debug.RolecallAtExit(func() { finish("Bye") }) }
`
)

func (b *build) addExit() error {
	told, err := b.goCommand("env", "GOROOT")
	if err != nil {
		return err
	}
	library := filepath.Join(strings.TrimSpace(string(told)), "src")
	if cached, err := b.isCached(library); err != nil || cached {
		return fmt.Errorf("-exit does not work with a toolchain of the module cache: %s (%v)", library, err)
	}
	hooks, err := os.ReadFile(filepath.Join(library, "internal", "runtime", "exithook", "hooks.go"))
	if err != nil || !strings.Contains(string(hooks), "RunOnFailure bool") {
		return fmt.Errorf("-exit does not work with this version of Go: its hooks are not as we know them")
	}
	if err := b.put(&part{Name: "debug", Dir: filepath.Join(library, "runtime", "debug")}, "rolecall.go", []byte(door)); err != nil {
		return err
	}
	home := b.parts[homePart]
	return b.put(home, "rolecall_exit.go", []byte(fmt.Sprintf(atExit, home.Name)))
}
