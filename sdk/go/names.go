package rolecall

// What the service and the operation of a call are called, by the generation of the client.

import (
	"context"

	"github.com/aws/smithy-go/middleware"
)

// namesIn are those that newer clients put into each call's context.
func namesIn(ctx context.Context) (service, api string) {
	return middleware.GetServiceID(ctx), middleware.GetOperationName(ctx)
}
