package rolecall

import (
	"reflect"

	"github.com/aws/smithy-go/middleware"
)

// registered are the names that older clients have in a part of the stack. Its type is of a package that we do not
// import: the overlay puts us below it.
func registered(stack *middleware.Stack) (service, api string) {
	part, there := stack.Initialize.Get("RegisterServiceMetadata")
	if !there {
		return "", ""
	}
	value := reflect.Indirect(reflect.ValueOf(part))
	if value.Kind() != reflect.Struct {
		return "", ""
	}
	return textIn(value, "ServiceID"), textIn(value, "OperationName")
}

func textIn(structure reflect.Value, name string) string {
	if it := structure.FieldByName(name); it.Kind() == reflect.String {
		return it.String()
	}
	return ""
}
