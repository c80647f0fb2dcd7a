package rolecall

// The shim's own part of a call, without the SDK's. `go test -run '^$' -bench .`

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"testing"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type attempt struct{ inner innermost }

func (a attempt) HandleInitialize(ctx context.Context, _ middleware.InitializeInput) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
	_, metadata, err = a.inner.HandleDeserialize(ctx, middleware.DeserializeInput{Request: benchRequest}, answer{})
	return out, metadata, err
}

type answer struct{}

func (answer) HandleDeserialize(context.Context, middleware.DeserializeInput) (out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
	out.RawResponse = benchResponse
	return out, metadata, nil
}

var (
	benchRequest = &smithyhttp.Request{Request: &http.Request{URL: &url.URL{Scheme: "https", Host: "dynamodb.eu-central-1.amazonaws.com"},
		Header: http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=AKIAROLECALLTEST/20261125/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00"}}}}
	benchResponse = &smithyhttp.Response{Response: &http.Response{StatusCode: 200, Header: http.Header{"X-Amzn-Requestid": {"R1"}}}}
)

func benchmark(b *testing.B, input func(at int) *describedInput) {
	s, _ := shimWith(b, always)
	s.sender.put = func(_ syscall.RawConn, line []byte) (int, bool) { return len(line), false }
	outer, inner := outermost{shim: s}, attempt{innermost{s}}
	ctx := middleware.WithOperationName(middleware.WithServiceID(context.Background(), "DynamoDB"), "GetItem")
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at++ {
		if _, _, err := outer.HandleInitialize(ctx, middleware.InitializeInput{Parameters: input(at)}, inner); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if s.mistakes > 0 || s.hooked.Load() != 2*int64(b.N) {
		b.Fatalf("%d beginnings and ends of %d calls, %d mistakes", s.hooked.Load(), b.N, s.mistakes)
	}
}

func inputOf(name string) *describedInput {
	return &describedInput{LogGroupName: of(name), FooArns: []string{"a"}}
}

func BenchmarkARepeat(b *testing.B) {
	input := inputOf("orders")
	benchmark(b, func(int) *describedInput { return input })
}

// The line is made, and thrown away: what the kernel's write costs is not in it.
func BenchmarkANewCall(b *testing.B) {
	benchmark(b, func(at int) *describedInput { return inputOf("orders" + strconv.Itoa(at)) })
}
