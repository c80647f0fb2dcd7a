package rolecall

// A bounded table of different calls and how often each was made since it was last told of.

import "strings"

const (
	maxEntries = 4096
	maxCount   = 1000000000
)

// One different call. `count` calls of it have not been told yet.
type entry struct {
	identity  string
	call      facts
	first     int64
	last      int64
	latency   int64
	requestID string
	idMember  string
	count     int64
	told      int64 // in all
	due       int64 // told of when so many wait
	in        *queue
	older     *entry
	newer     *entry
}

func newEntry(identity string, c *call) *entry {
	e := &entry{identity: identity, call: c.facts.kept()}
	e.add(c)
	return e
}

func (e *entry) add(c *call) {
	if e.count == 0 {
		e.first, e.latency, e.idMember = c.began, c.latency, c.idMember
		// A header's text may hold all headers of its answer.
		e.requestID = strings.Clone(c.requestID)
	}
	e.latency = max(e.latency, c.latency)
	e.last = c.began
	e.count++
}

// A queue of entries, the oldest first. An entry is in one at most.
type queue struct {
	oldest *entry
	newest *entry
	length int
}

func (q *queue) push(e *entry) {
	e.in, e.older, e.newer = q, q.newest, nil
	if q.newest != nil {
		q.newest.newer = e
	} else {
		q.oldest = e
	}
	q.newest = e
	q.length++
}

func (e *entry) leave() {
	q := e.in
	if q == nil {
		return
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		q.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		q.newest = e.older
	}
	q.length--
	e.in, e.older, e.newer = nil, nil, nil
}

// Entries that wait to be told, and entries that have been told, of which the oldest makes room.
type fold struct {
	table   map[string]*entry
	waiting queue
	idle    queue
}

// add counts one more call of an entry of the table.
func (f *fold) add(e *entry, c *call) {
	if e.in != &f.waiting {
		e.leave()
		f.waiting.push(e)
	}
	e.add(c)
}

// keep takes a new entry in, in the place of the oldest that has nothing to tell; whether there was room.
func (f *fold) keep(e *entry) bool {
	if len(f.table) >= maxEntries {
		oldest := f.idle.oldest
		if oldest == nil {
			return false
		}
		oldest.leave()
		delete(f.table, oldest.identity)
	}
	f.table[e.identity] = e
	if e.count > 0 {
		f.waiting.push(e)
	} else {
		f.idle.push(e)
	}
	return true
}

// settle is for an entry whose calls are told or lost.
func (f *fold) settle(e *entry) {
	e.told += e.count
	e.due = e.told
	e.count = 0
	if e.in == &f.waiting {
		e.leave()
		f.idle.push(e)
	}
}

// forget empties the table; how many calls had not been told of.
func (f *fold) forget() int64 {
	untold := int64(0)
	for e := f.waiting.oldest; e != nil; e = e.newer {
		untold += e.count
	}
	*f = fold{table: map[string]*entry{}}
	return untold
}
