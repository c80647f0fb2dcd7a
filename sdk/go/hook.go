package rolecall

// Sits in each operation's stack of middleware. Everything of ours is caught here; the program gets its SDK's answer, its
// SDK's error and its own panics, and nothing else.

import (
	"context"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// attach adds our two parts to a stack, once. One is outermost and sees the input and the end, retries included; the
// other is below them and sees each request as it is signed.
//
// It never fails: an error here would fail the program's call, which without our parts is only not told of.
func attach(stack *middleware.Stack) error {
	defer func() { _ = recover() }() // of a shim that could not even be made
	if s := theShim(); !s.off {
		addTo(s, stack)
	}
	return nil
}

func addTo(s *shim, stack *middleware.Stack) {
	defer s.caught(false)
	outer, inner := outermost{shim: s}, innermost{s}
	outer.service, outer.api = registered(stack)
	if _, there := stack.Initialize.Get(outer.ID()); there {
		return
	}
	if stack.Initialize.Add(outer, middleware.Before) == nil {
		_ = stack.Deserialize.Add(inner, middleware.Before)
	}
}

type callKey struct{}

type outermost struct {
	shim    *shim
	service string // where the stack says it; else the call's context does
	api     string
}

// ID is the same in each copy of the shim that a program may have, so that one of them is in a stack.
func (outermost) ID() string { return "RolecallCall" }

func (o outermost) HandleInitialize(
	ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
	c := o.begin(ctx, in.Parameters)
	if c == nil {
		return next.HandleInitialize(ctx, in)
	}
	returned := false
	// Deferred, so that a panic of the program's own middleware is told of, and goes on.
	defer func() { o.finish(c, returned, out.Result, err) }()
	out, metadata, err = next.HandleInitialize(middleware.WithStackValue(ctx, callKey{}, c), in)
	returned = true
	return out, metadata, err
}

// begin is nothing for what is no call of a service: the instance's metadata, say.
func (o outermost) begin(ctx context.Context, input any) (c *call) {
	defer o.shim.caught(true)
	service, api := o.service, o.api
	if service == "" {
		service, api = namesIn(ctx)
	}
	if service == "" || !o.shim.wanted() {
		return nil
	}
	return beginCall(service, api, input)
}

func (o outermost) finish(c *call, returned bool, result any, err error) {
	defer o.shim.caught(true)
	switch {
	case !returned:
		c.takePanic()
	case err != nil:
		c.takeError(err)
	case !c.wasAttempted():
		c.takePresigned(result)
	}
	o.shim.record(c)
}

type innermost struct{ shim *shim }

func (innermost) ID() string { return "RolecallRequest" }

func (i innermost) HandleDeserialize(
	ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
) (out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
	c, _ := middleware.GetStackValue(ctx, callKey{}).(*call)
	if c == nil {
		return next.HandleDeserialize(ctx, in)
	}
	i.readRequest(c, in.Request)
	out, metadata, err = next.HandleDeserialize(ctx, in)
	i.readResponse(c, out.RawResponse)
	return out, metadata, err
}

// readRequest: without it only host, key and region are missing.
func (i innermost) readRequest(c *call, request any) {
	defer i.shim.caught(false)
	if it, ok := request.(*smithyhttp.Request); ok && it != nil && it.Request != nil {
		c.takeRequest(it.Request)
	}
}

func (i innermost) readResponse(c *call, response any) {
	defer i.shim.caught(false)
	if it := httpResponse(response); it != nil {
		c.takeResponse(it)
	}
}

func httpResponse(response any) *http.Response {
	if it, ok := response.(*smithyhttp.Response); ok && it != nil {
		return it.Response
	}
	return nil
}
