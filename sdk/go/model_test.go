package rolecall

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/prelude"
	"github.com/aws/smithy-go/traits"
)

// An input as a client that is generated with schemas has it.
type describedInput struct {
	LogGroupName *string
	SecretName   *string
	Entries      []describedEntry
	ByName       map[string]describedEntry
	Tags         map[string]string
	When         *time.Time
	Stranger     any
	FooArns      []string
	CountId      int32
	UnsetName    string
	OnName       *bool
}

type describedEntry struct {
	QueueName *string
	Next      *describedEntry
}

var (
	entrySchema   = smithy.NewSchema(smithy.ShapeID{Name: "Entry"}, smithy.ShapeTypeStructure, 1)
	entriesSchema = smithy.NewSchema(smithy.ShapeID{Name: "Entries"}, smithy.ShapeTypeList, 1)
	inputSchema   = smithy.NewSchema(smithy.ShapeID{Name: "Input"}, smithy.ShapeTypeStructure, 3)
)

func init() {
	entrySchema.AddMember("queueName", prelude.String, &traits.Sensitive{})
	entriesSchema.AddMember("member", entrySchema)
	inputSchema.AddMember("logGroupName", prelude.String)
	inputSchema.AddMember("secretName", prelude.String, &traits.Sensitive{})
	inputSchema.AddMember("entries", entriesSchema)
}

// Serialize calls what a serializer of a newer SDK may have, and ours has not.
func (d *describedInput) Serialize(s smithy.ShapeSerializer) {
	s.WriteStruct(inputSchema)
	s.WriteString(inputSchema.Member("logGroupName"), "empty")
	s.CloseStruct()
}

func told(t *testing.T, service string, input any) map[string][]string {
	t.Helper()
	text, fits := parametersOf(service, input)
	if !fits {
		t.Fatal("too large")
	}
	read := map[string][]string{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	return read
}

func of[T any](value T) *T { return &value }

// stringed is of the program; nobody asks for its text.
type stringed struct{ t *testing.T }

func (s stringed) String() string {
	s.t.Error("a text of the program's own making was asked for")
	return ""
}

func TestTheModelsNamesAndItsSensitiveMembersAreThoseOfTheSDKsSchema(t *testing.T) {
	input := &describedInput{
		LogGroupName: of("group"), SecretName: of("canary"), Entries: []describedEntry{{QueueName: of("canary")}},
		ByName: map[string]describedEntry{"b": {QueueName: of("two")}, "a": {QueueName: of("one")}}, Tags: map[string]string{"z": "canary", "y": "canary"},
		When: of(time.Now()), Stranger: stringed{t}, FooArns: []string{"a", "", "a", "b"}, CountId: -7, OnName: of(false),
	}
	expected := map[string][]string{
		"logGroupName": {"group"}, "secretName": {"<redacted secret>"}, "entries[].queueName": {"<redacted secret>"},
		"ByName{}.QueueName": {"one", "two"}, "Tags{}": {"y", "z"}, "FooArns[]": {"a", "", "b"}, "CountId": {"-7"}, "OnName": {"false"},
	}
	if found := told(t, "Something New", input); !reflect.DeepEqual(found, expected) {
		t.Errorf("%v", found)
	}
}

func TestAnInputThatHoldsItselfComesToAnEnd(t *testing.T) {
	round := &describedEntry{QueueName: of("a")}
	round.Next = round
	found := told(t, "Something New", round)
	if len(found) != maxDepth || found["Next.Next.QueueName"][0] != "a" {
		t.Errorf("%v", found)
	}
}

func TestWhatIsTooMuchIsLeftOut(t *testing.T) {
	many := &describedInput{FooArns: make([]string, 5000)}
	for at := range many.FooArns {
		many.FooArns[at] = time.Duration(at).String()
	}
	many.FooArns[0] = string(make([]byte, maxValue+1))
	if found := told(t, "Something New", many)["FooArns[]"]; len(found) != maxValues || found[0] != "1ns" {
		t.Errorf("%v", found)
	}
	large := &describedInput{}
	for at := 0; at < maxValues; at++ {
		large.FooArns = append(large.FooArns, string(rune('a'+at))+string(make([]byte, maxValue-1)))
	}
	if text, fits := parametersOf("Something New", large); fits || text != nil {
		t.Errorf("%d bytes", len(text))
	}
}

func TestEqualInputsAreEqualWhateverTheOrderOfTheirMaps(t *testing.T) {
	input := &describedInput{Tags: map[string]string{}}
	for at := 0; at < 100; at++ {
		input.Tags[time.Duration(at).String()] = "v"
	}
	first, _ := parametersOf("Something New", input)
	for at := 0; at < 20; at++ {
		if again, _ := parametersOf("Something New", input); string(again) != string(first) {
			t.Fatalf("%s\n%s", first, again)
		}
	}
}

func TestWhatIsNoInputTellsNothing(t *testing.T) {
	for _, input := range []any{nil, 1, "text", describedInput{}, (*describedInput)(nil), of(1), of(of(describedInput{}))} {
		if text, fits := parametersOf("S3", input); text != nil || !fits {
			t.Errorf("%T: %s", input, text)
		}
	}
}
