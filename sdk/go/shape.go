package rolecall

// What the types of an SDK's input say: which fields there are, and of what kind. Worked out once for each type.

import (
	"reflect"
	"strings"
	"sync"
)

type kind uint8

const (
	nothingToSee kind = iota
	text
	whole
	natural
	fraction
	truth
	list
	table
	structure
)

// A shape is of a type without its pointers.
type shape struct {
	kind   kind
	fields []field      // of a structure
	item   reflect.Type // of a list; of a table, of its values
}

type field struct {
	at   int
	name string
	of   reflect.Type
}

var shapes sync.Map // reflect.Type → *shape; bounded by the types that the program has

// shapeOf looks at a type. Structures are looked into if they are of the service's own packages, `home` and below: so a
// type of the program, a time, a document or a stream is never touched.
func shapeOf(of reflect.Type, home string) *shape {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if known, ok := shapes.Load(of); ok {
		return known.(*shape)
	}
	made := makeShape(of, home)
	shapes.Store(of, made)
	return made
}

func makeShape(of reflect.Type, home string) *shape {
	switch of.Kind() {
	case reflect.String:
		return &shape{kind: text}
	case reflect.Bool:
		return &shape{kind: truth}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &shape{kind: whole}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &shape{kind: natural}
	case reflect.Float32, reflect.Float64:
		return &shape{kind: fraction}
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			break // bytes
		}
		return &shape{kind: list, item: of.Elem()}
	case reflect.Map:
		if of.Key().Kind() != reflect.String {
			break
		}
		return &shape{kind: table, item: of.Elem()}
	case reflect.Struct:
		if pkg := of.PkgPath(); pkg == home || strings.HasPrefix(pkg, home+"/") {
			return &shape{kind: structure, fields: fieldsOf(of)}
		}
	}
	// Interfaces too: a union's values are payload nearly always, and a stream's bytes are never read.
	return &shape{}
}

func fieldsOf(of reflect.Type) []field {
	var fields []field
	for at := 0; at < of.NumField(); at++ {
		it := of.Field(at)
		if it.IsExported() && !it.Anonymous && isName(it.Name) {
			fields = append(fields, field{at, it.Name, it.Type})
		}
	}
	return fields
}

// isName says whether the agent takes a name as part of a path.
func isName(name string) bool {
	for at := 0; at < len(name); at++ {
		c := name[at]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || at > 0 && (c >= '0' && c <= '9' || c == '_')) {
			return false
		}
	}
	return name != ""
}
