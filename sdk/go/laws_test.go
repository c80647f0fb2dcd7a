package rolecall

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A socket that takes what it is told to take.
type socket struct {
	mu    sync.Mutex
	takes func() bool
	text  bytes.Buffer
}

func (s *socket) write(_ syscall.RawConn, data []byte) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.takes() {
		return 0, false
	}
	n, _ := s.text.Write(data)
	return n, false
}

func (s *socket) lines(t *testing.T) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return linesOf(t, s.text.String())
}

func linesOf(t *testing.T, text string) (lines []map[string]any) {
	t.Helper()
	for _, it := range strings.SplitAfter(text, "\n") {
		if it == "" {
			continue
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(it), &line); err != nil || !strings.HasSuffix(it, "\n") || len(it) > maxLine+1 {
			t.Fatalf("%v: %q", err, it)
		}
		lines = append(lines, line)
	}
	return lines
}

func counted(lines []map[string]any) (count int) {
	for _, line := range lines {
		if line["Type"] == "ApiCall" {
			if many, ok := line["Count"].(float64); ok {
				count += int(many)
			} else {
				count++
			}
		}
		lost, _ := line["Lost"].(map[string]any)
		for _, it := range lost {
			count += int(it.(float64))
		}
	}
	return count
}

// shimWith is a shim whose timer does not run and whose socket is the test's.
func shimWith(t testing.TB, takes func() bool) (*shim, *socket) {
	t.Helper()
	s := newShim(func(name string) string {
		if name == "ROLECALL_CALLS_SOCKET" {
			return filepath.Join(t.TempDir(), "calls.sock")
		}
		return ""
	})
	s.armed = true
	out := &socket{takes: takes}
	s.sender.stream, _ = net.Pipe()
	s.sender.put = out.write
	return s, out
}

func always() bool { return true }

func made(at int) *call {
	name := strconv.Itoa(at)
	return &call{facts: facts{kind: "ApiCall", service: "S3", api: "GetObject", status: 200, host: "h", key: "A", region: "r",
		parameters: []byte(`{"Key":["` + name + `"]}`)}, began: 1, begun: time.Now(), requestID: "R", idMember: "XAmzRequestId"}
}

func TestOf100000DifferentCallsNoneIsForgotten(t *testing.T) {
	turns := 0
	sockets := map[string]func() bool{
		"takes all":           always,
		"takes nothing":       func() bool { return false },
		"takes now and again": func() bool { turns++; return turns%7 == 0 },
	}
	for name, takes := range sockets {
		t.Run(name, func(t *testing.T) {
			s, out := shimWith(t, takes)
			for at := 0; at < 100000; at++ {
				s.record(made(at))
				if at%3 == 0 {
					s.record(made(at))
				}
				if at%1000 == 0 {
					s.flush("Losses")
				}
				if len(s.fold.table) > maxEntries || s.fold.waiting.length+s.fold.idle.length != len(s.fold.table) {
					t.Fatalf("%d entries, %d wait, %d do not", len(s.fold.table), s.fold.waiting.length, s.fold.idle.length)
				}
			}
			out.takes = always
			if !s.flush("Losses") {
				t.Fatal("not all is told")
			}
			if found := counted(out.lines(t)); found != 133334 || s.mistakes != 0 {
				t.Errorf("%d calls are told, with %d mistakes", found, s.mistakes)
			}
		})
	}
}

func TestManyCallsAtOnceAreAllCounted(t *testing.T) {
	s, out := shimWith(t, always)
	var all sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for at := 0; at < 1000; at++ {
				s.record(made(at % 10))
			}
		}()
	}
	all.Wait()
	s.finish("Bye")
	lines := out.lines(t)
	if found := counted(lines); found != 8000 {
		t.Errorf("%d calls are told", found)
	}
	if last := lines[len(lines)-1]; last["Type"] != "Bye" {
		t.Errorf("the last line is %v", last)
	}
}

func TestAtMostHalfOfEqualCallsAreUntoldWithoutAnEnd(t *testing.T) {
	s, out := shimWith(t, always)
	for at := 1; at <= 1000; at++ {
		s.record(made(0))
		if told := counted(out.lines(t)); told*2 < at {
			t.Fatalf("%d of %d calls are told", told, at)
		}
	}
	if lines := len(out.lines(t)); lines > 11 {
		t.Errorf("%d lines for 1,000 equal calls", lines)
	}
}

func TestADenialThatWasNotSentIsTriedWithEachCall(t *testing.T) {
	free := false
	s, out := shimWith(t, func() bool { return free })
	denied := made(1)
	denied.status, denied.code = 403, "AccessDenied"
	s.record(denied)
	free = true
	again := made(1)
	again.status, again.code = 403, "AccessDenied"
	s.record(again)
	if lines := out.lines(t); len(lines) != 1 || lines[0]["Count"] != 2.0 {
		t.Errorf("%v", lines)
	}
}

func TestALineThatIsTooLongGoesWithoutItsParameters(t *testing.T) {
	s, out := shimWith(t, always)
	long := made(1)
	long.parameters = []byte(`{"Key":["` + strings.Repeat("é", 4090) + `"]}`)
	s.record(long)
	line := out.lines(t)[0]
	if _, there := line["Parameters"]; there || line["Api"] != "GetObject" {
		t.Errorf("%v", line)
	}
}

func TestWhatIsNoTextBecomesQuestionMarksAndTheRestStays(t *testing.T) {
	for text, expected := range map[string]string{
		"a\xff\xfeb": "a??b", "\xed\xa0\x80": "???", `\ud800`: `\ud800`, "\U0001f600\n\"\\\x01": "\U0001f600\n\"\\\x01",
	} {
		var read string
		if err := json.Unmarshal(appendText(nil, text), &read); err != nil || read != expected {
			t.Errorf("%q: %q, %v", text, read, err)
		}
	}
	if found := cut("a\n\u2028b\u0085\xffé", 5); found != "ab?é" {
		t.Errorf("%q", found)
	}
	if found := cut("ééé", 5); found != "éé" {
		t.Errorf("%q", found)
	}
}

func TestASocketThatIsFullTakesNoMoreAtOnceAndTheLinesThatWentAreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.sock")
	agent, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	s := &sender{network: "unix", address: path, greeting: func() []byte { return []byte("{}\n") }, put: write, pause: firstPause}
	line := []byte(`{"Type":"ApiCall","Filler":"` + strings.Repeat("x", 5000) + "\"}\n")
	began, taken := time.Now(), 0
	for s.offer(line) {
		taken++
	}
	for at := 0; at < 1000; at++ {
		if s.offer(line) {
			t.Fatal("it took a line after it took none")
		}
	}
	if taken < 10 || taken > 1000 || time.Since(began) > 2*time.Second {
		t.Fatalf("%d lines in %v", taken, time.Since(began))
	}
	peer, err := agent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	var text bytes.Buffer
	room := make([]byte, 1<<16)
	for complete := false; !complete; {
		if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := peer.Read(room)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(room[:n])
		complete = s.ready() && text.Len() == len("{}\n")+taken*len(line)
	}
	if lines := linesOf(t, text.String()); len(lines) != taken+1 {
		t.Errorf("%d lines, %d went", len(lines), taken)
	}
}

func TestOneLineThatWentHalfIsSaidAgainToTheNextListener(t *testing.T) {
	s := &sender{greeting: func() []byte { return []byte("HELLO\n") }, pause: firstPause, network: "unix", address: "none"}
	s.stream, _ = net.Pipe()
	s.put = func(_ syscall.RawConn, data []byte) (int, bool) { return 4, false }
	if !s.offer([]byte("the line\n")) {
		t.Fatal("half a line was not taken")
	}
	s.put = func(syscall.RawConn, []byte) (int, bool) { return 0, true }
	if s.ready() || s.stream != nil {
		t.Fatal("nobody was noticed to be gone")
	}
	peer, other := net.Pipe()
	defer other.Close()
	if s.begin(peer) {
		t.Fatal("a pipe has no descriptor")
	}
	s.stream, s.unsent = peer, append(s.greeting(), s.half...)
	var text []byte
	s.put = func(_ syscall.RawConn, data []byte) (int, bool) {
		text = append(text, data...)
		return len(data), false
	}
	if !s.ready() || string(text) != "HELLO\nthe line\n" {
		t.Errorf("%q", text)
	}
}

func TestASenderTriesAgainAfterOneSecondThenTwiceAsLongUpToAMinute(t *testing.T) {
	s := &sender{network: "unix", address: filepath.Join(t.TempDir(), "none"), greeting: hello, put: write, pause: firstPause}
	for _, expected := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		s.again = time.Time{}
		before := time.Now()
		if s.ready() {
			t.Fatal("nobody listens")
		}
		if pause := s.again.Sub(before); pause < expected*time.Second || pause > expected*time.Second+time.Second/2 {
			t.Errorf("%v, not %d s", pause, expected)
		}
		if again := s.again; s.ready() || s.again != again {
			t.Error("it tried again too soon")
		}
	}
}

func TestOnlyThisMachineIsAnAddress(t *testing.T) {
	for setting, expected := range map[string]string{
		"/a/calls.sock": "unix", "tcp://127.0.0.1:1234": "tcp", "tcp://127.0.0.1:0": "", "tcp://127.0.0.1:65536": "",
		"tcp://10.0.0.1:80": "", "tcp://localhost:80": "", "tcp://127.0.0.1": "", "tcp://127.0.0.1:1x": "",
	} {
		if network, _ := addressOf(setting); network != expected {
			t.Errorf("%s: %q, not %q", setting, network, expected)
		}
	}
	for setting, expected := range map[string]time.Duration{
		"": defaultFlush, "99": defaultFlush, "100": 100 * time.Millisecond, "60000": time.Minute, "60001": defaultFlush, "1e3": defaultFlush,
	} {
		if found := flushTime(setting); found != expected {
			t.Errorf("%s: %v", setting, found)
		}
	}
}

func TestAfterTenMistakesItIsOffAndEveryCallIsCountedAsLost(t *testing.T) {
	s, out := shimWith(t, always)
	s.sender.put = func(syscall.RawConn, []byte) (int, bool) { panic("sabotage") }
	for at := 0; at < 30; at++ {
		if s.wanted() {
			s.record(made(at))
		}
	}
	s.sender.put = out.write
	s.flush("Losses")
	lines := out.lines(t)
	if found := counted(lines); found != 30 || !s.broken.Load() {
		t.Fatalf("%d calls: %v", found, lines)
	}
	if lost := lines[0]["Lost"].(map[string]any); lost["error"] != 10.0 || lost["off"] != 20.0 {
		t.Errorf("%v", lost)
	}
}

func TestTheFileCallsOffStopsItForAsLongAsItIsThere(t *testing.T) {
	s, out := shimWith(t, always)
	if err := os.WriteFile(s.offFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.wanted() {
		t.Error("it is not stopped")
	}
	if err := os.Remove(s.offFile); err != nil {
		t.Fatal(err)
	}
	s.turn()
	if !s.wanted() {
		t.Error("it is stopped without the file")
	}
	s.record(made(1))
	if found := counted(out.lines(t)); found != 1 {
		t.Errorf("%d calls are told", found)
	}
}

func TestThePartThatDialsTCPDoesNotHoldUpACall(t *testing.T) {
	agent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	s := &sender{network: "tcp", address: agent.Addr().String(), greeting: hello, put: write, pause: firstPause}
	if s.ready() {
		t.Error("it waited for the connection")
	}
	for began := time.Now(); !s.ready(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("it is never connected")
		}
	}
}

type nothingSays struct{ error }

func TestTheNameOfAnErrorIsThatOfTheFirstTypeThatSaysSomething(t *testing.T) {
	if found := nameOf(errors.Join()); found != "Error" {
		t.Error(found)
	}
	if found := nameOf(nothingSays{errors.New("a")}); found != "nothingSays" {
		t.Error(found)
	}
	if found := nameOf(errors.New("the text")); found != "Error" {
		t.Error(found)
	}
}
