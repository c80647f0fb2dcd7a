package rolecall

// What of a value may be told: the rules of rules.json, in the order in which conformance/calls/README.md reads them.

import (
	"encoding/json"
	"strings"
	"sync"
)

type rule struct {
	service string
	marker  string
	names   []string
}

type ruleBook struct {
	redact  []rule
	keep    map[string]bool
	endings []string
	keysOf  map[string]bool
}

// Read once, with the first call: a program that makes none pays nothing.
var readRules = sync.OnceValue(parseRules)

func parseRules() *ruleBook {
	var text struct {
		Redact []struct {
			Service, Kind string
			Names         []string
		}
		Keep struct{ Names, Endings, KeysOf []string }
	}
	if err := json.Unmarshal([]byte(rulesText), &text); err != nil {
		panic(err)
	}
	book := &ruleBook{keep: setOf(text.Keep.Names), endings: lowered(text.Keep.Endings), keysOf: setOf(text.Keep.KeysOf)}
	for _, it := range text.Redact {
		book.redact = append(book.redact, rule{bare(it.Service), "<redacted " + it.Kind + ">", lowered(it.Names)})
	}
	return book
}

func lowered(names []string) []string {
	low := make([]string, len(names))
	for at, name := range names {
		low[at] = strings.ToLower(name)
	}
	return low
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range lowered(names) {
		set[name] = true
	}
	return set
}

// bare is how services are compared: letters and digits alone, in any case.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(text))
}

// fits compares a member with a name of a rule; `*` at either end stands for anything.
func fits(name, member string) bool {
	if end := strings.TrimPrefix(name, "*"); end != name {
		return strings.HasSuffix(member, end)
	}
	if beginning := strings.TrimSuffix(name, "*"); beginning != name {
		return strings.HasPrefix(member, beginning)
	}
	return name == member
}

// membersOf are the names on a path, in small letters and without `[]` and `{}`.
func membersOf(path string) []string {
	members := strings.Split(strings.ToLower(path), ".")
	for at, member := range members {
		members[at] = strings.TrimRight(member, "[]{}")
	}
	return members
}

// byName is the marker for all values at a path, or nothing: rules 1 and 2.
func byName(service, path string, sensitive bool) string {
	called, members := bare(service), membersOf(path)
	for _, rule := range readRules().redact {
		if (rule.service == "" || rule.service == called) && rule.fitsAny(members) {
			return rule.marker
		}
	}
	if sensitive {
		return "<redacted secret>"
	}
	return ""
}

func (r rule) fitsAny(members []string) bool {
	for _, name := range r.names {
		for _, member := range members {
			if fits(name, member) {
				return true
			}
		}
	}
	return false
}

// byForm is the marker for a value that has the form of a secret, or nothing: rule 3.
func byForm(value string) string {
	switch {
	case isSigned(value):
		return "<redacted signed-url>"
	case strings.Contains(value, "-----BEGIN") && strings.Contains(value, "PRIVATE KEY-----"):
		return "<redacted private-key>"
	case isSessionToken(value):
		return "<redacted session-token>"
	case isWebToken(value):
		return "<redacted token>"
	}
	return ""
}

func isSigned(value string) bool {
	// Nearly all values have no `=`, and one look says so.
	return strings.IndexByte(value, '=') >= 0 &&
		(strings.Contains(value, "X-Amz-Signature=") || strings.Contains(value, "X-Amz-Security-Token=") ||
			strings.Contains(value, "x-amz-security-token=") || strings.Contains(value, "&Signature="))
}

func isSessionToken(value string) bool {
	const prefix, shortest = 4, 96
	if len(value) < prefix+shortest {
		return false
	}
	switch value[:prefix] {
	case "FQoG", "FwoG", "IQoJ":
		return isEncoded(value[prefix:])
	}
	return false
}

func isWebToken(value string) bool {
	if !strings.HasPrefix(value, "ey") {
		return false
	}
	parts := strings.Split(value, ".")
	return len(parts) == 3 && strings.HasPrefix(parts[1], "ey") &&
		isEncoded(parts[0]) && isEncoded(parts[1]) && isEncoded(parts[2])
}

// isEncoded says whether a text has the characters of base 64 alone, in any of its writings.
func isEncoded(text string) bool {
	for at := 0; at < len(text); at++ {
		c := text[at]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/=_%-", c) >= 0) {
			return false
		}
	}
	return true
}

// isTold says whether values at a path may be told as they are: rule 4.
func isTold(path string) bool {
	book, members := readRules(), membersOf(path)
	last := members[len(members)-1]
	if strings.HasSuffix(path, "{}") {
		return book.keysOf[last]
	}
	if book.keep[last] {
		return true
	}
	for _, ending := range book.endings {
		if strings.HasSuffix(last, ending) {
			return true
		}
	}
	return false
}
