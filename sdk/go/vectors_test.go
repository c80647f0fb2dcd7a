package rolecall

import (
	"encoding/json"
	"os"
	"testing"
)

const conformance = "../../conformance/calls/"

type vector struct {
	Name, Service, Path, Value, Outcome string
	Code, Kind                          *string
	Status                              *int
}

func vectors(t *testing.T, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(conformance + file)
	if err != nil {
		t.Fatal(err)
	}
	var read struct{ Cases []vector }
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Cases) < 20 {
		t.Fatalf("%s has %d cases", file, len(read.Cases))
	}
	return read.Cases
}

func orNothing[T any](value *T) (set T) {
	if value != nil {
		set = *value
	}
	return set
}

func TestTheRulesAreThoseOfTheRepositoryByteForByte(t *testing.T) {
	text, err := os.ReadFile(conformance + "rules.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != rulesText {
		t.Error("rules.json is another")
	}
}

func TestEachCaseOfRedactionIsDecidedAsItSays(t *testing.T) {
	for _, it := range vectors(t, "redaction.json") {
		marker := byName(it.Service, it.Path, false)
		if marker == "" {
			marker = byForm(it.Value)
		}
		expected := ""
		if it.Kind != nil {
			expected = "<redacted " + *it.Kind + ">"
		} else if !isTold(it.Path) {
			t.Errorf("%s: %s is not told", it.Name, it.Path)
		}
		if marker != expected {
			t.Errorf("%s: %q, not %q", it.Name, marker, expected)
		}
	}
}

func TestEachCaseOfOutcomesIsClassedAsItSays(t *testing.T) {
	for _, it := range vectors(t, "outcomes.json") {
		if found := outcome(orNothing(it.Status), orNothing(it.Code)); found != it.Outcome {
			t.Errorf("%s: %s, not %s", it.Name, found, it.Outcome)
		}
	}
}
