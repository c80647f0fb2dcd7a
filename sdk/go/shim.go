package rolecall

// The one shim of this process: its settings, its table, its timer and its end.

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultSocket = "/run/rolecall/calls.sock"
	defaultFlush  = 10 * time.Second
	maxMistakes   = 10
	goodbye       = 200 * time.Millisecond
	// Counts are told sooner than they must be when no call was made for so long: Go tells nobody when a process ends.
	quiet = time.Second
)

// A shim counts calls and tells of them.
type shim struct {
	offFile string
	every   time.Duration
	off     bool        // by the environment, or by an address that is none
	paused  atomic.Bool // by the file
	broken  atomic.Bool // by mistakes
	started sync.Once
	hooked  atomic.Int64 // beginnings and ends of calls, so that the timer knows whether there are none

	mu       sync.Mutex
	fold     fold
	lost     map[string]int64
	sender   *sender
	mistakes int
	armed    bool
	seen     int64 // `hooked` at the last turn
	flushed  time.Time
	line     []byte // room for one
	identity []byte
}

// theShim is of this process.
var theShim = sync.OnceValue(func() *shim { return newShim(os.Getenv) })

func newShim(setting func(string) string) *shim {
	socket := setting("ROLECALL_CALLS_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	network, address := addressOf(socket)
	return &shim{
		offFile: offFile(socket),
		every:   flushTime(setting("ROLECALL_CALLS_FLUSH_MS")),
		off:     !supported || setting("ROLECALL_CALLS") == "off" || network == "",
		fold:    fold{table: map[string]*entry{}},
		lost:    map[string]int64{},
		sender:  &sender{network: network, address: address, greeting: hello, put: write, pause: firstPause},
	}
}

// flushTime is `ROLECALL_CALLS_FLUSH_MS`; the default for what is no number of its range.
func flushTime(setting string) time.Duration {
	if ms, err := strconv.ParseUint(setting, 10, 32); err == nil && ms >= 100 && ms <= 60000 {
		return time.Duration(ms) * time.Millisecond
	}
	return defaultFlush
}

// wanted says whether a call that begins now is to be looked at. Of a shim that broke, calls are only counted.
func (s *shim) wanted() bool {
	if s.off {
		return false
	}
	s.hooked.Add(1)
	s.started.Do(s.lookForOffFile)
	if s.broken.Load() || s.paused.Load() {
		s.sitOut()
		return false
	}
	return true
}

func (s *shim) sitOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken.Load() {
		s.lost["off"]++
	}
	s.arm()
}

// record counts a call that is over; tells of it at once if it is the first of its kind, or the first denial.
func (s *shim) record(c *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	s.hooked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused.Load() {
		return
	}
	if s.broken.Load() {
		s.lost["off"]++
		return
	}
	s.arm()
	s.identity = c.facts.appendIdentity(s.identity[:0])
	e := s.fold.table[string(s.identity)]
	if e == nil {
		s.recordNew(string(s.identity), c)
		return
	}
	s.fold.add(e, c)
	// Counts that have doubled are told too: so a process that ends without a word leaves less than half of them untold.
	if e.told == 0 && isDenial(c) || e.told > 0 && e.count >= e.due || e.count >= maxCount {
		if !s.tell(e) {
			e.due = 2 * e.count
		}
	}
}

func (s *shim) recordNew(identity string, c *call) {
	e := newEntry(identity, c)
	told := s.tell(e)
	// A mistake in telling may have been the last one that is allowed.
	if !s.broken.Load() && !s.fold.keep(e) && !told {
		s.lost["full"]++
	}
}

func isDenial(c *call) bool {
	code := c.code
	if code == "" {
		code = c.exception
	}
	return outcome(c.status, code) == "denied"
}

// tell tries to send an entry's line. True: it is settled, told or lost; false: it waits on.
func (s *shim) tell(e *entry) (settled bool) {
	defer func() {
		if recover() == nil {
			return
		}
		// Not thrown on: whoever catches it would count the call as lost once more.
		settled = true
		s.lost["error"] += e.count
		s.fold.settle(e)
		s.countMistake()
	}()
	if !s.sender.ready() {
		return false
	}
	s.line = callLine(s.line[:0], e)
	if len(s.line) == 0 {
		s.lost["long"] += e.count
	} else if !s.sender.offer(s.line) {
		return false
	}
	s.fold.settle(e)
	return true
}

// mistake is one of our own; `lostCall` says whether a call goes untold with it.
func (s *shim) mistake(lostCall bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lostCall {
		reason := "error"
		if s.broken.Load() {
			reason = "off"
		}
		s.lost[reason]++
	}
	s.countMistake()
	s.arm()
}

// countMistake: after ten the shim is off, and what it had not told of is lost.
func (s *shim) countMistake() {
	s.mistakes++
	if s.mistakes < maxMistakes || s.broken.Load() {
		return
	}
	s.broken.Store(true)
	s.lost["off"] += s.fold.forget()
	if s.lost["off"] == 0 {
		delete(s.lost, "off")
	}
}

// caught is deferred around every part that the program's own call runs: what we do wrong ends here.
func (s *shim) caught(lostCall bool) {
	if recover() == nil {
		return
	}
	defer func() { _ = recover() }()
	s.mistake(lostCall)
}

// arm starts the timer if it does not run. It holds no goroutine while nothing happens.
func (s *shim) arm() {
	if !s.armed {
		s.armed = true
		s.seen = s.hooked.Load()
		time.AfterFunc(s.tick(), s.turn)
	}
}

func (s *shim) tick() time.Duration { return min(quiet, s.every) }

// turn is what the timer does.
func (s *shim) turn() {
	defer s.caught(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.lookForOffFile()
	// Another turn would be too late, or no call was made since the last one.
	if time.Since(s.flushed)+s.tick() > s.every || s.hooked.Load() == s.seen {
		s.flushed = time.Now()
		s.flush("Losses")
	}
	if s.fold.waiting.length > 0 || len(s.lost) > 0 || len(s.sender.unsent) > 0 {
		s.arm()
	}
}

func (s *shim) lookForOffFile() {
	_, err := os.Stat(s.offFile)
	s.paused.Store(err == nil)
}

// flush tells what waits and what was lost, until the socket takes no more; whether nothing is left.
func (s *shim) flush(kind string) bool {
	if s.paused.Load() {
		return true
	}
	for e := s.fold.waiting.oldest; e != nil; e = s.fold.waiting.oldest {
		if !s.tell(e) {
			return false
		}
	}
	if kind == "Losses" && len(s.lost) == 0 {
		// Also delivers what is left of a line that went half.
		return len(s.sender.unsent) == 0 || s.sender.ready()
	}
	if !s.sender.offer(lossesLine(kind, s.lost)) {
		return false
	}
	clear(s.lost)
	return true
}

// finish is for the end of a program, which nothing of ours may change.
func finish(kind string) {
	defer func() { _ = recover() }()
	theShim().finish(kind)
}

// finish tells all that waits, within a fifth of a second: `Losses` if the process goes on, `Bye` if it ends.
func (s *shim) finish(kind string) {
	if s.off || s.hooked.Load() == 0 {
		return
	}
	until := time.Now().Add(goodbye)
	s.retryNow()
	for !s.attempt(kind) && time.Now().Before(until) {
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *shim) retryNow() {
	defer s.caught(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookForOffFile()
	s.sender.again = time.Time{}
}

// attempt says whether all is told, or cannot be: nobody listens, or it is a mistake.
func (s *shim) attempt(kind string) (over bool) {
	over = true
	defer s.caught(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flush(kind) {
		return len(s.sender.unsent) == 0 || s.sender.ready()
	}
	return s.sender.stream == nil && !s.sender.dialing.Load() && s.sender.dialled.Load() == nil
}
