package rolecall

// The stream to the agent. Nothing here ever waits: a unix socket is connected to at once or not at all, TCP in the
// background, and what the socket does not take now is not sent.

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	firstPause   = time.Second
	longestPause = time.Minute
	// How long a TCP connection of the loopback may take, in the background.
	connecting = 10 * time.Second
)

// A sender takes whole lines or nothing. It keeps no more than what a new listener is told first and one line that went
// half. The shim's lock is held in all of it.
type sender struct {
	network  string
	address  string
	greeting func() []byte
	put      func(syscall.RawConn, []byte) (sent int, gone bool)
	stream   net.Conn
	raw      syscall.RawConn
	unsent   []byte
	// The line that `unsent` is the rest of; the next listener must get it from its beginning.
	half    []byte
	pause   time.Duration
	again   time.Time
	dialing atomic.Bool
	dialled atomic.Pointer[net.Conn]
}

// offer sends a line if the socket takes it now; whether it did. One that went half is as good as sent.
func (s *sender) offer(line []byte) bool {
	if !s.ready() {
		return false
	}
	sent := s.push(line)
	if sent <= 0 {
		return false
	}
	if sent < len(line) {
		s.half = append([]byte(nil), line...)
		s.unsent = s.half[sent:]
	}
	return true
}

// ready says whether there is a connection with nothing left to say.
func (s *sender) ready() bool {
	if s.stream == nil && !s.connect() {
		return false
	}
	if len(s.unsent) == 0 {
		return true
	}
	sent := s.push(s.unsent)
	if sent < 0 {
		return false
	}
	s.unsent = s.unsent[sent:]
	if len(s.unsent) > 0 {
		return false
	}
	s.unsent, s.half, s.pause = nil, nil, firstPause
	return true
}

// push says how many bytes the socket took; -1 if the connection is gone.
func (s *sender) push(data []byte) int {
	sent, gone := s.put(s.raw, data)
	if gone {
		s.lose()
		return -1
	}
	return sent
}

// connect tries to reach the agent, unless it was tried too short a time ago.
func (s *sender) connect() bool {
	if found := s.dialled.Swap(nil); found != nil {
		return s.begin(*found)
	}
	if s.dialing.Load() || time.Now().Before(s.again) {
		return false
	}
	s.again = time.Now().Add(s.pause)
	s.pause = min(2*s.pause, longestPause)
	if s.network == "tcp" {
		s.dialing.Store(true)
		go s.dialInBackground()
		return false
	}
	stream, err := net.Dial(s.network, s.address)
	return err == nil && s.begin(stream)
}

func (s *sender) dialInBackground() {
	defer func() { _ = recover() }()
	defer s.dialing.Store(false)
	if stream, err := net.DialTimeout(s.network, s.address, connecting); err == nil {
		s.dialled.Store(&stream)
	}
}

func (s *sender) begin(stream net.Conn) bool {
	is, ok := stream.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := is.SyscallConn()
	if err != nil {
		_ = stream.Close()
		return false
	}
	s.stream, s.raw = stream, raw
	s.unsent = append(s.greeting(), s.half...)
	return true
}

// lose is for a connection that is gone. What went half is said again, from its beginning.
func (s *sender) lose() {
	if s.stream == nil {
		return
	}
	_ = s.stream.Close()
	s.stream, s.raw, s.unsent = nil, nil, nil
	s.again = time.Now().Add(s.pause)
}

// addressOf is what `ROLECALL_CALLS_SOCKET` names; no network for an address that is not of this machine.
func addressOf(setting string) (network, address string) {
	port, isTCP := strings.CutPrefix(setting, "tcp://127.0.0.1:")
	switch number, err := strconv.ParseUint(port, 10, 16); {
	case isTCP && err == nil && number > 0:
		return "tcp", "127.0.0.1:" + port
	case strings.HasPrefix(setting, "tcp://"):
		return "", ""
	}
	return "unix", setting
}

// offFile is the file that switches every shim off for as long as it is there.
func offFile(setting string) string {
	if strings.HasPrefix(setting, "tcp://") {
		return "/run/rolecall/calls.off"
	}
	return filepath.Join(filepath.Dir(setting), "calls.off")
}
