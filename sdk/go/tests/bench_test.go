package tests

// What the shim adds to a call. `go test -run '^$' -bench .`

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	rolecall "rolecall/sdk/go"
)

type answering struct{}

func (answering) Do(asked *http.Request) (*http.Response, error) {
	if asked.Body != nil {
		_, _ = io.Copy(io.Discard, asked.Body)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"X-Amzn-Requestid": {"R1"}}, Body: io.NopCloser(bytes.NewReader([]byte("{}"))), Request: asked}, nil
}

func tables(watch bool) *dynamodb.Client {
	cfg := aws.Config{Region: "eu-central-1", HTTPClient: answering{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAROLECALLTEST", "the-secret", "")}
	if watch {
		rolecall.Watch(&cfg)
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true })
}

func calls(b *testing.B, watch bool, table func(at int) string) {
	client := tables(watch)
	item := map[string]dynamotypes.AttributeValue{"id": &dynamotypes.AttributeValueMemberS{Value: "v"}}
	b.ReportAllocs()
	b.ResetTimer()
	for at := 0; at < b.N; at++ {
		if _, err := client.GetItem(context.Background(), &dynamodb.GetItemInput{TableName: aws.String(table(at)), Key: item}); err != nil {
			b.Fatal(err)
		}
	}
}

func same(int) string { return "orders" }

// startReader is an agent that reads and forgets, in the process's own socket.
func startReader(b *testing.B) {
	b.Helper()
	path := filepath.Join(scratch, "own.sock")
	if _, err := os.Stat(path); err == nil {
		return
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for {
			stream, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, stream) }()
		}
	}()
}

func BenchmarkACallWithoutTheShim(b *testing.B) { calls(b, false, same) }

func BenchmarkACallWithTheShimThatIsARepeat(b *testing.B) {
	startReader(b)
	calls(b, true, same)
}

func BenchmarkACallWithTheShimThatIsNew(b *testing.B) {
	startReader(b)
	calls(b, true, func(at int) string { return "orders" + strconv.Itoa(at) })
}
