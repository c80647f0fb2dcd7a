package main

// What is changed: one function of smithy-go, through which every operation of every client goes, and one package of the SDK,
// into which the shim is put.

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	changedFunction = "DecorateHandler"
	// As its parameters are named by the patch, and not by the SDK.
	addedLine = "\n\tfor _, rolecallPart := range %s {\n\t\trolecallSee(rolecallPart)\n\t}\n"
)

// What is added to smithy-go's package `middleware`: it knows nothing of the shim, which tells it what to call.
const registry = `package middleware

var rolecallWatch func(*Stack) error

// RolecallWatch has a function called with each stack that is about to be used. For the start of a program alone.
func RolecallWatch(watch func(*Stack) error) { rolecallWatch = watch }

func rolecallSee(part Middleware) {
	if stack, ok := part.(*Stack); ok && stack != nil && rolecallWatch != nil {
		_ = rolecallWatch(stack)
	}
}
`

func (b *build) patchSmithy() error {
	into := b.parts[stackPart]
	for _, name := range into.GoFiles {
		text, err := os.ReadFile(filepath.Join(into.Dir, name))
		if err != nil {
			return err
		}
		patched, err := patchFile(name, text)
		if err != nil {
			return err
		}
		if patched == nil {
			continue
		}
		if err := b.put(into, name, patched); err != nil {
			return err
		}
		return b.put(into, "rolecall.go", []byte(registry))
	}
	return fmt.Errorf("%s has no %s that we know how to change", stackPart, changedFunction)
}

// patchFile is the file with the changed function, or nothing if it does not have it.
func patchFile(name string, text []byte) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, it := range parsed.Decls {
		function, ok := it.(*ast.FuncDecl)
		if !ok || function.Name.Name != changedFunction || function.Recv != nil {
			continue
		}
		parameters := function.Type.Params.List
		if last := parameters[len(parameters)-1]; len(last.Names) == 1 {
			if _, variadic := last.Type.(*ast.Ellipsis); variadic {
				at := files.Position(function.Body.Lbrace).Offset + 1
				added := fmt.Sprintf(addedLine, last.Names[0].Name)
				return bytes.Join([][]byte{text[:at], text[at:]}, []byte(added)), nil
			}
		}
		return nil, fmt.Errorf("%s is not as we know it", changedFunction)
	}
	return nil, nil
}

// The shim's files, and those that are another in a program that is overlaid.
var (
	shimFiles = []string{"call.go", "fold.go", "hook.go", "line.go", "outcome.go", "parameters.go", "redact.go", "registered.go",
		"sender.go", "shape.go", "shim.go", "write_other.go", "write_unix.go"}
	withoutModel = `package rolecall

import "reflect"

// This smithy-go has no schemas: names alone decide.
type model struct{}

func modelOf(reflect.Type) model { return model{} }

func (model) member(name string) (model, string) { return model{}, name }

func (model) item(kind) model { return model{} }

func (model) isSensitive() bool { return false }
`
	withoutNames = `package rolecall

import "context"

// This smithy-go has no names in its contexts: they are in the stack.
func namesIn(context.Context) (service, api string) { return "", "" }
`
	start = `package rolecall

import "github.com/aws/smithy-go/middleware"

func init() { middleware.RolecallWatch(attach) }
`
)

func (b *build) addShim(shim string) error {
	texts := map[string][]byte{"start.go": []byte(start), "model.go": []byte(withoutModel), "names.go": []byte(withoutNames)}
	files := append([]string(nil), shimFiles...)
	if b.smithyHas("schema.go", "func SchemaTrait[") {
		files = append(files, "model.go")
	}
	if b.smithyHas("middleware/context.go", "func GetServiceID(") {
		files = append(files, "names.go")
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(shim, name))
		if err != nil {
			return fmt.Errorf("-shim is not the folder of the shim's sources: %w", err)
		}
		texts[name] = text
	}
	rules, err := os.ReadFile(filepath.Join(shim, "rules.json"))
	if err != nil {
		return err
	}
	texts["rules.go"] = []byte("package rolecall\n\nvar rulesText = " + strconv.Quote(string(rules)) + "\n")
	return b.putShim(texts)
}

// smithyHas says whether a file of the program's smithy-go has what a part of the shim needs.
func (b *build) smithyHas(file, what string) bool {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(b.parts[stackPart].Dir), filepath.FromSlash(file)))
	return err == nil && strings.Contains(string(text), what)
}

// putShim adds the files under names and in the package of the SDK's own, if no name is there twice.
func (b *build) putShim(texts map[string][]byte) error {
	into := b.parts[homePart]
	taken := map[string]bool{}
	for _, name := range into.GoFiles {
		text, err := os.ReadFile(filepath.Join(into.Dir, name))
		if err != nil {
			return err
		}
		if err := declare(name, text, taken); err != nil {
			return err
		}
	}
	for name, text := range texts {
		if !strings.HasPrefix(name, "write_") { // one of the two is built
			if err := declare(name, text, taken); err != nil {
				return err
			}
		}
		if err := b.put(into, "rolecall_"+name, moved(text, into.Name)); err != nil {
			return err
		}
	}
	return nil
}

// moved is a file for another package, whose module may say that it is written in an older Go: a file may say for itself.
func moved(text []byte, to string) []byte {
	const version = "go1.24"
	if bytes.HasPrefix(text, []byte("//go:build ")) {
		text = bytes.Replace(text, []byte("\n"), []byte(" && "+version+"\n"), 1)
	} else {
		text = append([]byte("//go:build "+version+"\n\n"), text...)
	}
	return bytes.Replace(text, []byte("\npackage rolecall\n"), []byte("\npackage "+to+"\n"), 1)
}

// declare refuses a name of a package that is declared in two files.
func declare(file string, text []byte, taken map[string]bool) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, it := range parsed.Decls {
		for _, name := range namesOf(it) {
			if taken[name] && name != "init" && name != "_" {
				return fmt.Errorf("%s declares %s, which is in %s already", file, name, homePart)
			}
			taken[name] = true
		}
	}
	return nil
}

func namesOf(declared ast.Decl) (names []string) {
	switch it := declared.(type) {
	case *ast.FuncDecl:
		if it.Recv == nil {
			names = append(names, it.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range it.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
