package main

// Where the SDK's modules of a program are, and how they are replaced. The go command refuses to overlay files of the module
// cache; so modules that are there are copied, and the program's go.mod (or go.work) is overlaid by one that names the copies.
// Modules that are elsewhere, as in a vendor folder, are overlaid file by file.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	smithy    = "github.com/aws/smithy-go"
	core      = "github.com/aws/aws-sdk-go-v2"
	stackPart = smithy + "/middleware"
	// A package that all clients have, that imports nothing of the SDK, and that nothing of smithy-go imports.
	homePart = core + "/internal/sdk"
)

type build struct {
	program string
	out     string
	replace map[string]string // for -overlay: a file → the file in its place
	parts   map[string]*part
	copied  []*part
}

// A part is one of the two packages that are changed.
type part struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Module     struct{ Path, Version, Dir string }
}

func (b *build) locate() error {
	told, err := b.goCommand("list", "-json=ImportPath,Name,Dir,GoFiles,Module", stackPart, homePart)
	if err != nil {
		return fmt.Errorf("the program does not use the AWS SDK for Go v2, or it is not downloaded: %w", err)
	}
	b.parts = map[string]*part{}
	for decoder := json.NewDecoder(bytes.NewReader(told)); decoder.More(); {
		it := &part{}
		if err := decoder.Decode(it); err != nil {
			return err
		}
		b.parts[it.ImportPath] = it
	}
	for _, path := range []string{stackPart, homePart} {
		if it := b.parts[path]; it == nil || it.Dir == "" || len(it.GoFiles) == 0 {
			return fmt.Errorf("%s is not among the program's packages", path)
		}
	}
	return nil
}

// detach copies what is in the module cache, and has the program built with the copies.
func (b *build) detach() error {
	for _, path := range []string{stackPart, homePart} {
		it := b.parts[path]
		cached, err := b.isCached(it.Dir)
		if err != nil {
			return err
		}
		if !cached {
			continue
		}
		copy := filepath.Join(b.out, filepath.Base(it.Module.Path))
		if err := copyModule(it.Module.Dir, copy); err != nil {
			return err
		}
		within, err := filepath.Rel(it.Module.Dir, it.Dir)
		if err != nil {
			return err
		}
		it.Dir, it.Module.Dir = filepath.Join(copy, within), copy
		b.copied = append(b.copied, it)
	}
	if len(b.copied) == 0 {
		return nil
	}
	return b.replaceModules()
}

// isCached says whether a folder is in the module cache.
func (b *build) isCached(folder string) (bool, error) {
	cache, err := b.goCommand("env", "GOMODCACHE")
	if err != nil {
		return false, err
	}
	inside, err := filepath.Rel(strings.TrimSpace(string(cache)), folder)
	return err == nil && !strings.HasPrefix(inside, ".."), nil
}

// replaceModules overlays the program's go.work, or go.mod if there is none.
func (b *build) replaceModules() error {
	told, err := b.goCommand("env", "GOWORK", "GOMOD")
	if err != nil {
		return err
	}
	lines := strings.Split(string(told), "\n")
	verb, original := "work", lines[0]
	if original == "" || original == "off" {
		verb, original = "mod", lines[1]
	}
	text, err := os.ReadFile(original)
	if err != nil {
		return fmt.Errorf("the program has no go.mod: %w", err)
	}
	changed := filepath.Join(b.out, filepath.Base(original))
	if err := os.WriteFile(changed, text, 0o644); err != nil {
		return err
	}
	edits := []string{verb, "edit"}
	for _, it := range b.copied {
		edits = append(edits, fmt.Sprintf("-replace=%s@%s=%s", it.Module.Path, it.Module.Version, it.Module.Dir))
	}
	if _, err := b.goCommand(append(edits, changed)...); err != nil {
		return err
	}
	b.replace[original] = changed
	return nil
}

// put adds a file to a package, or replaces one of it.
func (b *build) put(into *part, name string, text []byte) error {
	file := filepath.Join(b.out, "files", into.Name, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	b.replace[filepath.Join(into.Dir, name)] = file
	return nil
}

func (b *build) write() error {
	text, err := json.MarshalIndent(map[string]any{"Replace": b.replace}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "overlay.json"), append(text, '\n'), 0o644)
}

func (b *build) goCommand(arguments ...string) ([]byte, error) {
	command := exec.Command("go", arguments...)
	command.Dir = b.program
	command.Env = append(os.Environ(), "GOFLAGS="+withoutOverlay(os.Getenv("GOFLAGS")))
	var complaint bytes.Buffer
	command.Stderr = &complaint
	told, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(complaint.String()))
	}
	return told, nil
}

// withoutOverlay leaves out what an earlier run may have been set as: its files are gone.
func withoutOverlay(flags string) string {
	var kept []string
	for _, it := range strings.Fields(flags) {
		if !strings.HasPrefix(it, "-overlay=") {
			kept = append(kept, it)
		}
	}
	return strings.Join(kept, " ")
}

// copyModule copies what is needed to build a module: its tests and their data are not.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		within, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == "testdata" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, within), 0o755)
		}
		if strings.HasSuffix(within, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, within), text, 0o644)
	})
}
