package rolecall

// Input → path → values, bounded. What is to be done at a path is worked out once for each operation and kept in a tree of
// places, so that a repeat call costs some look-ups. Nothing of the program's own is called, and nothing is kept of its
// memory but what is told.

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	maxPlaces        = 65536 // of all operations together
	maxPaths         = 64
	maxPath          = 256
	maxValues        = 16
	maxValue         = 2048
	maxDepth         = 8
	maxToldSteps     = 2048
	maxRedactedSteps = 64   // markers say no more after that, and items of tables are large
	maxParameters    = 8192 // more would not fit into a line
)

// A place is one path of an operation, and what is done with its values.
type place struct {
	root   *root
	path   string
	name   string // in the model, of the last member
	marker string
	told   bool
	depth  int
	shape  *shape
	model  model
	hidden bool // the model marks it, or one above it
	below  []atomic.Pointer[place]
}

// A root is what all places of an operation share.
type root struct {
	service string
	home    string
	top     *place
}

var (
	roots  sync.Map // reflect.Type of the input → *root; bounded by the types that the program has
	placed atomic.Int64
	// nothing is the place of what is not looked at.
	nothing = &place{}
)

func rootOf(service string, input reflect.Type) *root {
	if known, ok := roots.Load(input); ok {
		return known.(*root)
	}
	made := &root{service: service, home: input.PkgPath()}
	made.top = &place{root: made, shape: shapeOf(input, made.home), model: modelOf(input)}
	made.top.below = make([]atomic.Pointer[place], len(made.top.shape.fields))
	roots.Store(input, made)
	return made
}

// next is the place of a field, or of a list's items or a map's entries (0).
func (p *place) next(at int) *place {
	if known := p.below[at].Load(); known != nil {
		return known
	}
	// More operations than there is room for are told without parameters.
	if placed.Load() >= maxPlaces {
		return nothing
	}
	placed.Add(1)
	p.below[at].CompareAndSwap(nil, p.make(at))
	return p.below[at].Load()
}

func (p *place) make(at int) *place {
	made := &place{root: p.root, name: p.name, depth: p.depth}
	var of reflect.Type
	switch p.shape.kind {
	case structure:
		it := p.shape.fields[at]
		of = it.of
		made.model, made.name = p.model.member(it.name)
		made.path, made.depth = made.name, p.depth+1
		if p.path != "" {
			made.path = p.path + "." + made.name
		}
	case list:
		of, made.model, made.path = p.shape.item, p.model.item(list), p.path+"[]"
	default:
		of, made.model, made.path = p.shape.item, p.model.item(table), p.path+"{}"
	}
	made.shape = shapeOf(of, p.root.home)
	made.hidden = p.hidden || made.model.isSensitive()
	made.marker = byName(p.root.service, made.path, made.hidden)
	made.told = isTold(made.path)
	if made.depth > maxDepth || len(made.path) > maxPath || made.isSilent(p.shape.kind) {
		return nothing
	}
	switch made.shape.kind {
	case structure:
		made.below = make([]atomic.Pointer[place], len(made.shape.fields))
	case list, table:
		made.below = make([]atomic.Pointer[place], 1)
	}
	return made
}

// isSilent says whether nothing can come of a place: so it is not looked at again.
func (p *place) isSilent(above kind) bool {
	says := p.told || p.marker != ""
	switch p.shape.kind {
	case nothingToSee:
		return above != table || !says // a map's keys are told whatever its values are
	case structure, list, table:
		return false
	}
	return !says
}

// A walk is through one input.
type walk struct {
	slots         []slot
	toldSteps     int
	redactedSteps int
	keys          []string
}

type slot struct {
	place  *place
	values []string
}

var walks = sync.Pool{New: func() any { return &walk{} }}

// parametersOf is the JSON object of what an input tells, or nothing; `fits` is false for one that is too large for a line.
func parametersOf(service string, input any) (told []byte, fits bool) {
	value := reflect.ValueOf(input)
	if value.Kind() != reflect.Pointer || value.IsNil() || value.Elem().Kind() != reflect.Struct {
		return nil, true
	}
	w := walks.Get().(*walk)
	w.toldSteps, w.redactedSteps = 0, 0
	w.look(rootOf(service, value.Elem().Type()).top, value.Elem())
	told = w.write()
	w.forget()
	walks.Put(w)
	if len(told) > maxParameters {
		return nil, false
	}
	return told, true
}

// forget lets go of the program's texts.
func (w *walk) forget() {
	for at := range w.slots {
		clear(w.slots[at].values)
		w.slots[at].values = w.slots[at].values[:0]
		w.slots[at].place = nil
	}
	w.slots = w.slots[:0]
	clear(w.keys)
	w.keys = w.keys[:0]
}

func (w *walk) write() []byte {
	if len(w.slots) == 0 {
		return nil
	}
	told := make([]byte, 0, 128)
	for at := range w.slots {
		told = append(told, separator(at == 0, '{'))
		told = appendText(told, w.slots[at].place.path)
		told = append(told, ':')
		for at, value := range w.slots[at].values {
			told = append(told, separator(at == 0, '['))
			told = appendText(told, value)
		}
		told = append(told, ']')
	}
	return append(told, '}')
}

func separator(first bool, opening byte) byte {
	if first {
		return opening
	}
	return ','
}

func (w *walk) look(p *place, v reflect.Value) {
	if p == nothing || w.isTired(p) {
		return
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch p.shape.kind {
	case structure:
		w.lookAtFields(p, v)
	case list:
		w.lookAtItems(p, v)
	case table:
		w.lookAtEntries(p, v)
	case nothingToSee:
	default:
		w.take(p, v)
	}
}

func (w *walk) isTired(p *place) bool {
	if p.marker != "" {
		w.redactedSteps++
		return w.redactedSteps > maxRedactedSteps
	}
	w.toldSteps++
	return w.toldSteps > maxToldSteps
}

func (w *walk) lookAtFields(p *place, v reflect.Value) {
	for at := range p.shape.fields {
		next := p.next(at)
		if next == nothing {
			continue
		}
		// A field that is no pointer says with its zero value that it is not set.
		if it := v.Field(p.shape.fields[at].at); !it.IsZero() {
			w.look(next, it)
		}
	}
}

func (w *walk) lookAtItems(p *place, v reflect.Value) {
	next := p.next(0)
	if next == nothing {
		return
	}
	for at := 0; at < v.Len() && at < maxToldSteps; at++ {
		w.look(next, v.Index(at))
	}
}

func (w *walk) lookAtEntries(p *place, v reflect.Value) {
	next := p.next(0)
	if next == nothing || v.Len() == 0 {
		return
	}
	if next.marker != "" {
		w.tell(next, next.marker)
		return
	}
	deeper := next.shape.kind == structure || next.shape.kind == list || next.shape.kind == table
	// One order, so that equal calls are equal; of a map too large for that nothing is told.
	if !next.told && !deeper || v.Len() > maxToldSteps {
		return
	}
	from := len(w.keys)
	for entries := v.MapRange(); entries.Next(); {
		w.keys = append(w.keys, entries.Key().String())
	}
	slices.Sort(w.keys[from:])
	for at := from; at < from+v.Len(); at++ {
		key := w.keys[at]
		if next.told {
			w.tellText(next, key)
		}
		if deeper {
			w.look(next, v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key())))
		}
	}
	w.keys = w.keys[:from]
}

func (w *walk) take(p *place, v reflect.Value) {
	if p.marker != "" {
		w.tell(p, p.marker)
		return
	}
	if !p.told {
		return
	}
	switch p.shape.kind {
	case text:
		w.tellText(p, v.String())
	case truth:
		w.tell(p, strconv.FormatBool(v.Bool()))
	case whole:
		w.tell(p, strconv.FormatInt(v.Int(), 10))
	case natural:
		w.tell(p, strconv.FormatUint(v.Uint(), 10))
	case fraction:
		if number := v.Float(); !math.IsNaN(number) && !math.IsInf(number, 0) {
			w.tell(p, strconv.FormatFloat(number, 'g', -1, 64))
		}
	}
}

func (w *walk) tellText(p *place, value string) {
	if len(value) > maxValue {
		return
	}
	if marker := byForm(value); marker != "" {
		value = marker
	}
	w.tell(p, value)
}

func (w *walk) tell(p *place, value string) {
	values := w.valuesOf(p)
	if values == nil || len(*values) >= maxValues || slices.Contains(*values, value) {
		return
	}
	*values = append(*values, value)
}

// valuesOf are those of a place so far; nil if there are too many places.
func (w *walk) valuesOf(p *place) *[]string {
	for at := range w.slots {
		if w.slots[at].place == p {
			return &w.slots[at].values
		}
	}
	if len(w.slots) >= maxPaths {
		return nil
	}
	if len(w.slots) < cap(w.slots) {
		w.slots = w.slots[:len(w.slots)+1] // with the room for values that it had before
	} else {
		w.slots = append(w.slots, slot{})
	}
	it := &w.slots[len(w.slots)-1]
	it.place = p
	return &it.values
}
