package rolecall

// What the service's model says of an input, where the SDK tells at run time: clients that are generated with schemas know
// the model's own names and its `sensitive` trait. Of the others, the names of Go's fields alone decide.

import (
	"reflect"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
)

// A model is one shape of a service's model; the zero one knows nothing.
type model struct{ schema *smithy.Schema }

// rootCatcher is handed to an empty input, which tells it its schema first of all. Whatever else it is told of ends in a
// panic that is caught: so a newer SDK's serializer may have more methods than we know of.
type rootCatcher struct {
	smithy.ShapeSerializer
	root *smithy.Schema
}

func (c *rootCatcher) WriteStruct(schema *smithy.Schema) {
	if c.root == nil {
		c.root = schema
	}
}

func (c *rootCatcher) CloseStruct() {}

// modelOf asks a new, empty input of the type: the program's own is not touched.
func modelOf(input reflect.Type) (found model) {
	catcher := &rootCatcher{}
	defer func() {
		_ = recover()
		found.schema = catcher.root
	}()
	if empty, ok := reflect.New(input).Interface().(smithy.Serializable); ok {
		empty.Serialize(catcher)
	}
	return found
}

// member is the model of a Go field, and its name in the model.
func (m model) member(name string) (model, string) {
	if m.schema == nil {
		return model{}, name
	}
	if exact := m.schema.Member(name); exact != nil {
		return model{exact}, name
	}
	for modelled, schema := range m.schema.Members() {
		if strings.EqualFold(modelled, name) && isName(modelled) {
			return model{schema}, modelled
		}
	}
	return model{}, name
}

// item is the model of a list's items or a map's values.
func (m model) item(of kind) model {
	if m.schema == nil {
		return model{}
	}
	if of == list {
		return model{m.schema.Member("member")}
	}
	return model{m.schema.Member("value")}
}

// isSensitive says whether the model marks it; a map is what its keys are.
func (m model) isSensitive() bool {
	if m.schema == nil {
		return false
	}
	_, marked := smithy.SchemaTrait[*traits.Sensitive](m.schema)
	if key := m.schema.Member("key"); !marked && key != nil && m.schema.Type() == smithy.ShapeTypeMap {
		_, marked = smithy.SchemaTrait[*traits.Sensitive](key)
	}
	return marked
}
