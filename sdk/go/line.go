package rolecall

// An event → one line of JSON, within 8,192 bytes.

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxLine = 8192
	// Bounds of the members, in bytes.
	maxHost    = 255
	maxName    = 128
	maxVersion = 64

	shimVersion = "0.1.0"
	sdkName     = "github.com/aws/aws-sdk-go-v2"
)

// callLine appends the line of an entry of the table: with its parameters, without them if that is too long; or nothing,
// if that is too long as well.
func callLine(into []byte, e *entry) []byte {
	line := appendCall(into, e, e.call.parameters)
	if len(line)-len(into) > maxLine+1 {
		line = appendCall(into, e, nil)
	}
	if len(line)-len(into) > maxLine+1 {
		return into
	}
	return line
}

func appendCall(to []byte, e *entry, parameters []byte) []byte {
	to = appendHead(to, e.call.kind)
	to = appendMember(to, "Service", e.call.service, maxName)
	to = appendMember(to, "Api", e.call.api, maxName)
	to = appendMember(to, "Region", e.call.region, maxName)
	to = appendNumber(to, "Timestamp", e.first)
	if e.count > 1 {
		to = appendNumber(to, "Last", e.last)
		to = appendNumber(to, "Count", e.count)
	}
	to = appendNumber(to, "Latency", e.latency)
	to = appendMember(to, "Fqdn", e.call.host, maxHost)
	to = appendMember(to, "AccessKey", e.call.key, maxName)
	if e.call.status >= 100 && e.call.status <= 599 {
		to = appendNumber(to, "FinalHttpStatusCode", int64(e.call.status))
	}
	to = appendMember(to, "FinalAwsException", e.call.code, maxName)
	to = appendMember(to, "FinalSdkException", e.call.exception, maxName)
	to = appendMember(to, e.idMember, e.requestID, maxName)
	if len(parameters) > 0 {
		to = append(to, `,"Parameters":`...)
		to = append(to, parameters...)
	}
	return append(to, "}\n"...)
}

// hello says who is speaking.
func hello() []byte {
	to := appendHead(nil, "Hello")
	to = appendMember(to, "Language", "go", maxVersion)
	to = appendMember(to, "Sdk", "aws-sdk-go-v2", maxVersion)
	to = appendMember(to, "SdkVersion", sdkVersion(), maxVersion)
	to = appendMember(to, "Shim", shimVersion, maxVersion)
	to = appendNumber(to, "Pid", int64(os.Getpid()))
	return append(to, "}\n"...)
}

// sdkVersion is what the program was built with, as it says itself.
func sdkVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, it := range info.Deps {
			if it.Path == sdkName && it.Version != "" {
				return strings.TrimPrefix(it.Version, "v")
			}
		}
	}
	return "unknown"
}

// lossesLine is of `Losses` or `Bye`: reason → count.
func lossesLine(kind string, lost map[string]int64) []byte {
	to := append(appendHead(nil, kind), `,"Lost":{`...)
	reasons := make([]string, 0, len(lost))
	for reason := range lost {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for at, reason := range reasons {
		if at > 0 {
			to = append(to, ',')
		}
		to = append(appendText(to, reason), ':')
		to = strconv.AppendInt(to, lost[reason], 10)
	}
	return append(to, "}}\n"...)
}

func appendHead(to []byte, kind string) []byte {
	to = append(to, `{"Version":2,"Type":"`...)
	return append(append(to, kind...), '"')
}

func appendNumber(to []byte, name string, value int64) []byte {
	to = append(append(append(to, `,"`...), name...), `":`...)
	return strconv.AppendInt(to, value, 10)
}

func appendMember(to []byte, name, value string, limit int) []byte {
	if value = cut(value, limit); value == "" {
		return to
	}
	to = append(append(append(to, `,"`...), name...), `":`...)
	return appendText(to, value)
}

// cut is the text's beginning that fits, without control characters, which the agent refuses.
func cut(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029:
			return -1
		case r == utf8.RuneError:
			return '?'
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

const hexadecimal = "0123456789abcdef"

// appendText writes a text as JSON does. What is no UTF-8 becomes a question mark, byte for byte.
func appendText(to []byte, value string) []byte {
	to = append(to, '"')
	for at := 0; at < len(value); {
		c := value[at]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(value[at:])
			if r == utf8.RuneError && size == 1 {
				to = append(to, '?')
			} else {
				to = append(to, value[at:at+size]...)
			}
			at += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < 0x20:
			to = append(to, '\\', 'u', '0', '0', hexadecimal[c>>4], hexadecimal[c&15])
		default:
			to = append(to, c)
		}
		at++
	}
	return append(to, '"')
}
