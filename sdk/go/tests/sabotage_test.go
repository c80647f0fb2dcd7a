package tests

// A failure in any part of the shim leaves the program its SDK's answer. The program is built with the shim's own sources, in
// which each function can be told to panic; the overlay of the go command does that, and the sources stay as they are.

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

const saboteur = `package rolecall

import "os"

var sabotagedPart = os.Getenv("SABOTAGE")

func sabotage(part string) {
	if part == sabotagedPart {
		panic("sabotage")
	}
}
`

// What the program calls itself, and the net under all of it. They do nothing but call what is sabotaged.
var entries = map[string]bool{"Watch": true, "Flush": true, "End": true, "HandleInitialize": true, "HandleDeserialize": true, "caught": true}

// sabotageable writes an overlay, and gives the names of the parts that can fail.
func sabotageable(t *testing.T) (overlay string, parts []string) {
	t.Helper()
	folder := t.TempDir()
	replace := map[string]string{}
	sources, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		original, err := filepath.Abs(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		replace[original] = filepath.Join(folder, name)
		if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") || strings.HasSuffix(source, "_other.go") {
			continue
		}
		text, found := withSabotage(t, source)
		put(filepath.Base(source), text)
		parts = append(parts, found...)
	}
	put("sabotage_overlay.go", saboteur)
	overlay = filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay, parts
}

// withSabotage is a source whose functions ask first, behind what they defer, whether they are to fail.
func withSabotage(t *testing.T, source string) (text string, parts []string) {
	t.Helper()
	read, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, source, read, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]string{}
	for _, it := range parsed.Decls {
		function, ok := it.(*ast.FuncDecl)
		if !ok || entries[function.Name.Name] {
			continue
		}
		place := function.Body.Lbrace + 1
		for _, statement := range function.Body.List {
			if _, deferred := statement.(*ast.DeferStmt); !deferred {
				break
			}
			place = statement.End()
		}
		part := fmt.Sprintf("%s:%d %s", filepath.Base(source), files.Position(function.Pos()).Line, function.Name.Name)
		at[files.Position(place).Offset] = part
		parts = append(parts, part)
	}
	places := make([]int, 0, len(at))
	for place := range at {
		places = append(places, place)
	}
	sort.Sort(sort.Reverse(sort.IntSlice(places)))
	text = string(read)
	for _, place := range places {
		text = text[:place] + fmt.Sprintf("; sabotage(%q); ", at[place]) + text[place:]
	}
	return text, parts
}

func TestAFailureInAnyPartLeavesTheCallItsResult(t *testing.T) {
	overlay, parts := sabotageable(t)
	program := goBuild(t, "programs/repeat", "sabotaged", "-overlay", overlay)
	if len(parts) < 80 {
		t.Fatalf("%d parts", len(parts))
	}
	endpoint := stsThat(t, 200)
	unix, socket := agentOf(t)
	tcp := listen(t, "tcp", "127.0.0.1:0", true)
	addresses := []string{socket, "tcp://" + tcp.listener.Addr().String(), filepath.Join(t.TempDir(), "none.sock")}
	places := make(chan struct{}, 4)
	var all sync.WaitGroup
	for _, part := range parts {
		for _, address := range addresses {
			places <- struct{}{}
			all.Add(1)
			go func() {
				defer func() { <-places; all.Done() }()
				ended := run(t, program, "ENDPOINT="+endpoint, "ROLECALL_CALLS_SOCKET="+address, "ROLECALL_CALLS_FLUSH_MS=100",
					"SABOTAGE="+part, "TIMES=15", "WAIT=10")
				if ended.out != strings.Repeat(account, 15) || ended.err != "" || ended.code != 0 {
					t.Errorf("%s, %s: code %d\n%s%s", part, address, ended.code, ended.out, ended.err)
				}
			}()
		}
	}
	all.Wait()
	// So the parts did fail, and the calls that went untold for it were counted.
	lost := map[string]float64{}
	for _, it := range unix.lines(t) {
		reasons, _ := it["Lost"].(map[string]any)
		for reason, many := range reasons {
			lost[reason] += many.(float64)
		}
	}
	if lost["error"] < 100 || lost["off"] < 50 {
		t.Errorf("%v", lost)
	}
}
