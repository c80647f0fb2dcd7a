package rolecall

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/aws/smithy-go/middleware"
)

// A program's own client may send one call more than once at the same time.
type twice struct{ inner innermost }

func (h twice) HandleInitialize(ctx context.Context, _ middleware.InitializeInput) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
	var both sync.WaitGroup
	for at := 0; at < 2; at++ {
		both.Add(1)
		go func() {
			defer both.Done()
			_, _, _ = h.inner.HandleDeserialize(ctx, middleware.DeserializeInput{Request: benchRequest}, answer{})
		}()
	}
	both.Wait()
	return out, metadata, errors.New("too many")
}

func TestOneCallThatIsSentTwiceAtTheSameTimeIsOneCall(t *testing.T) {
	s, out := shimWith(t, always)
	ctx := middleware.WithOperationName(middleware.WithServiceID(context.Background(), "DynamoDB"), "GetItem")
	_, _, err := outermost{shim: s}.HandleInitialize(ctx, middleware.InitializeInput{Parameters: &describedInput{}}, twice{innermost{s}})
	if err == nil || err.Error() != "too many" {
		t.Error(err)
	}
	lines := out.lines(t)
	if len(lines) != 1 || lines[0]["FinalHttpStatusCode"] != 200.0 || lines[0]["AccessKey"] != "AKIAROLECALLTEST" || lines[0]["XAmznRequestId"] != "R1" {
		t.Errorf("%v", lines)
	}
}

func TestWhatIsNoCallOfAServiceIsNotToldOf(t *testing.T) {
	s, out := shimWith(t, always)
	_, _, err := outermost{shim: s}.HandleInitialize(context.Background(), middleware.InitializeInput{Parameters: &describedInput{}}, attempt{innermost{s}})
	if lines := out.lines(t); err != nil || len(lines) != 0 {
		t.Errorf("%v, %v", err, lines)
	}
}

func TestAStackHasOurPartsOnce(t *testing.T) {
	s, _ := shimWith(t, always)
	stack := middleware.NewStack("GetItem", func() any { return nil })
	addTo(s, stack)
	addTo(s, stack)
	if len(stack.Initialize.List()) != 1 || len(stack.Deserialize.List()) != 1 || s.mistakes != 0 {
		t.Errorf("%v", stack)
	}
}
