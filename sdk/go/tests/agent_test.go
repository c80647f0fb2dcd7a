package tests

// What the tests share: an agent that collects lines, and answers in AWS's stead.

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 20 * time.Second

// eventually waits for a condition, not for a time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

type line map[string]any

func (l line) text(name string) string {
	text, _ := l[name].(string)
	return text
}

func (l line) parameter(path string) []string {
	all, _ := l["Parameters"].(map[string]any)
	values, _ := all[path].([]any)
	var texts []string
	for _, it := range values {
		texts = append(texts, it.(string))
	}
	return texts
}

// has compares members, and `Parameters.PATH` with the values there.
func (l line) has(members map[string]string) bool {
	for name, value := range members {
		found := l.text(name)
		if path, isParameter := strings.CutPrefix(name, "Parameters."); isParameter {
			found = strings.Join(l.parameter(path), " ")
		}
		if found != value {
			return false
		}
	}
	return true
}

func (l line) count() int {
	if many, ok := l["Count"].(float64); ok {
		return int(many)
	}
	return 1
}

// An agent listens and collects what it is told, each stream for itself.
type agent struct {
	listener net.Listener
	reads    bool
	mu       sync.Mutex
	streams  []net.Conn
	texts    []*strings.Builder
}

func listen(t *testing.T, network, address string, reads bool) *agent {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{listener: listener, reads: reads}
	t.Cleanup(a.close)
	go a.accept()
	return a
}

// agentOf is an agent at a socket in a folder of the test's own, and the socket's path.
func agentOf(t *testing.T) (*agent, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calls.sock")
	return listen(t, "unix", path, true), path
}

func (a *agent) accept() {
	for {
		stream, err := a.listener.Accept()
		if err != nil {
			return
		}
		text := &strings.Builder{}
		a.mu.Lock()
		a.streams, a.texts = append(a.streams, stream), append(a.texts, text)
		a.mu.Unlock()
		if a.reads {
			go a.read(stream, text)
		}
	}
}

func (a *agent) read(stream net.Conn, text *strings.Builder) {
	room := make([]byte, 1<<16)
	for {
		n, err := stream.Read(room)
		a.mu.Lock()
		text.Write(room[:n])
		a.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (a *agent) close() {
	_ = a.listener.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, stream := range a.streams {
		_ = stream.Close()
	}
}

// hadNobody fails if anybody connected before: connections are taken in their order, and the last one is the test's own.
func (a *agent) hadNobody(t *testing.T) {
	t.Helper()
	address := a.listener.Addr()
	stream, err := net.Dial(address.Network(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	count := 0
	eventually(t, "the test's own connection is taken", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		count = len(a.streams)
		return count > 0
	})
	if count != 1 {
		t.Errorf("%d connections", count)
	}
}

// isThrough waits for the line that comes last.
func (a *agent) isThrough(t *testing.T) {
	t.Helper()
	eventually(t, "Bye is the last line", func() bool {
		lines := a.lines(t)
		return len(lines) > 0 && lines[len(lines)-1].text("Type") == "Bye"
	})
}

func (a *agent) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all strings.Builder
	for _, text := range a.texts {
		all.WriteString(text.String())
	}
	return all.String()
}

// lines are the whole ones that came.
func (a *agent) lines(t *testing.T) []line {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []line
	for _, text := range a.texts {
		for _, it := range strings.SplitAfter(text.String(), "\n") {
			if !strings.HasSuffix(it, "\n") {
				continue
			}
			var read line
			if err := json.Unmarshal([]byte(it), &read); err != nil {
				t.Fatalf("%v: %q", err, it)
			}
			lines = append(lines, read)
		}
	}
	return lines
}

// of are the lines of an operation.
func (a *agent) of(t *testing.T, kind, service, api string) []line {
	t.Helper()
	var found []line
	for _, it := range a.lines(t) {
		if it.text("Type") == kind && it.text("Service") == service && it.text("Api") == api {
			found = append(found, it)
		}
	}
	return found
}

// counted are the calls that lines tell of, with those that were lost.
func counted(lines []line) (count int) {
	for _, it := range lines {
		if it.text("Type") == "ApiCall" {
			count += it.count()
		}
		lost, _ := it["Lost"].(map[string]any)
		for _, many := range lost {
			count += int(many.(float64))
		}
	}
	return count
}

const (
	identity = `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	denial   = `<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>R1</RequestId></ErrorResponse>`
)

// stsThat answers each request with a status.
func stsThat(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("X-Amzn-Requestid", "R1")
		w.WriteHeader(status)
		body := identity
		if status != http.StatusOK {
			body = denial
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
