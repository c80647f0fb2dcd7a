package tests

// The SDK's clients against moto, in this process, and a program that knows nothing of the shim, built with the overlay.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	rolecall "rolecall/sdk/go"
)

// motoServer starts one that is stopped with the test, and gives its address.
func motoServer(t *testing.T) string {
	t.Helper()
	program := os.Getenv("ROLECALL_MOTO")
	if program == "" {
		t.Fatal("ROLECALL_MOTO is not set: it is the path of moto_server, of the package moto[server]")
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	_ = probe.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	server.Env = append(os.Environ(), "ROLECALL_CALLS=off")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	eventually(t, "moto_server listens", func() bool {
		stream, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = stream.Close()
		}
		return err == nil
	})
	return "http://" + address
}

var (
	listenOnce sync.Once
	own        *agent
)

// ownAgent is told of the calls of this process. It lives as long as the process, as the shim does.
func ownAgent(t *testing.T) *agent {
	t.Helper()
	listenOnce.Do(func() {
		listener, err := net.Listen("unix", filepath.Join(scratch, "own.sock"))
		if err != nil {
			t.Fatal(err)
		}
		own = &agent{listener: listener, reads: true}
		go own.accept()
	})
	return own
}

func watched(t *testing.T, options ...func(*config.LoadOptions) error) aws.Config {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(context.Background(), append([]func(*config.LoadOptions) error{
		config.WithRegion("eu-central-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAROLECALLTEST", "the-secret", "the-session-token")),
		config.WithLogger(logging.Nop{}),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	rolecall.Watch(&cfg)
	return cfg
}

func must[T any](t *testing.T) func(T, error) T {
	return func(answer T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

func TestTheClientsOfTheSDKAreToldOf(t *testing.T) {
	agent, ctx := ownAgent(t), context.Background()
	cfg := watched(t, config.WithBaseEndpoint(motoServer(t)))
	store := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	must[*s3.CreateBucketOutput](t)(store.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("reports"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}}))
	must[*s3.PutObjectOutput](t)(store.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("a.csv"),
		Body: strings.NewReader("the-body"), Metadata: map[string]string{"note": "the-value"}}))
	for at := 0; at < 20; at++ {
		answer := must[*s3.GetObjectOutput](t)(store.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("reports"), Key: aws.String("a.csv")}))
		if text, err := io.ReadAll(answer.Body); string(text) != "the-body" {
			t.Fatal(string(text), err)
		}
	}
	_, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("reports"), Key: aws.String("none.csv")})
	if missing := (*s3types.NoSuchKey)(nil); !errors.As(err, &missing) {
		t.Fatal(err)
	}
	_, err = store.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("reports"), Key: aws.String("none.csv")})
	if missing := (*s3types.NotFound)(nil); !errors.As(err, &missing) {
		t.Fatal(err)
	}
	pages := s3.NewListObjectsV2Paginator(store, &s3.ListObjectsV2Input{Bucket: aws.String("reports"), Prefix: aws.String("a")})
	for pages.HasMorePages() {
		must[*s3.ListObjectsV2Output](t)(pages.NextPage(ctx))
	}
	signed, err := s3.NewPresignClient(store).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("reports"), Key: aws.String("signed.csv")})
	if err != nil || !strings.Contains(signed.URL, "X-Amz-Signature=") {
		t.Fatal(err)
	}
	form, err := s3.NewPresignClient(store).PresignPostObject(ctx, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: aws.String("form.csv")})
	if err != nil || form.Values["X-Amz-Signature"] == "" {
		t.Fatal(err)
	}
	must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil))
	// The example of the wire format's README.
	tables := dynamodb.NewFromConfig(cfg)
	must[*dynamodb.CreateTableOutput](t)(tables.CreateTable(ctx, &dynamodb.CreateTableInput{TableName: aws.String("orders"),
		BillingMode:          dynamotypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamotypes.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: "S"}},
		KeySchema:            []dynamotypes.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: "HASH"}}}))
	item := map[string]dynamotypes.AttributeValue{"id": &dynamotypes.AttributeValueMemberS{Value: "the-value"}}
	must[*dynamodb.PutItemOutput](t)(tables.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("orders"), Item: item}))
	must[*dynamodb.TransactGetItemsOutput](t)(tables.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{
		TransactItems: []dynamotypes.TransactGetItem{{Get: &dynamotypes.Get{TableName: aws.String("orders"), Key: item}}}}))
	must[*dynamodb.BatchGetItemOutput](t)(tables.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]dynamotypes.KeysAndAttributes{"orders": {Keys: []map[string]dynamotypes.AttributeValue{item}}}}))
	queues := sqs.NewFromConfig(cfg)
	queue := must[*sqs.CreateQueueOutput](t)(queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("jobs")}))
	must[*sqs.SendMessageOutput](t)(queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("the-message")}))
	rolecall.Flush()

	eventually(t, "20 equal calls", func() bool {
		sum := 0
		for _, it := range agent.of(t, "ApiCall", "S3", "GetObject") {
			if strings.Join(it.parameter("Key"), "") == "a.csv" {
				sum += it.count()
			}
		}
		return sum == 20
	})
	for _, secret := range []string{"the-secret", "the-session-token", "the-body", "the-value", "the-message", "X-Amz-Signature", signed.URL} {
		if strings.Contains(agent.text(), secret) {
			t.Errorf("%s left the process", secret)
		}
	}
	expect(t, agent, "ApiCall S3 GetObject", map[string]string{"Region": "eu-central-1", "Fqdn": "127.0.0.1",
		"AccessKey": "AKIAROLECALLTEST", "Parameters.Bucket": "reports", "Parameters.Key": "a.csv"})
	expect(t, agent, "ApiCall S3 GetObject", map[string]string{"FinalAwsException": "NoSuchKey", "Parameters.Key": "none.csv"})
	expect(t, agent, "ApiCall S3 HeadObject", map[string]string{"FinalAwsException": "NotFound"})
	expect(t, agent, "ApiCall S3 PutObject", map[string]string{"Parameters.Key": "a.csv", "Parameters.Metadata{}": "<redacted payload>"})
	expect(t, agent, "ApiCall S3 ListObjectsV2", map[string]string{"Parameters.Prefix": "a"})
	expect(t, agent, "Presign S3 GetObject", map[string]string{"AccessKey": "AKIAROLECALLTEST", "Region": "eu-central-1",
		"Fqdn": "127.0.0.1", "Parameters.Key": "signed.csv"})
	expect(t, agent, "Presign S3 PutObject", map[string]string{"AccessKey": "AKIAROLECALLTEST", "Parameters.Key": "form.csv"})
	expect(t, agent, "ApiCall STS GetCallerIdentity", map[string]string{"AccessKey": "AKIAROLECALLTEST"})
	expect(t, agent, "ApiCall DynamoDB PutItem", map[string]string{"Parameters.TableName": "orders", "Parameters.Item{}": "<redacted database-value>"})
	expect(t, agent, "ApiCall DynamoDB TransactGetItems", map[string]string{"Parameters.TransactItems[].Get.TableName": "orders"})
	expect(t, agent, "ApiCall DynamoDB BatchGetItem", map[string]string{"Parameters.RequestItems{}": "orders"})
	expect(t, agent, "ApiCall SQS SendMessage", map[string]string{"Parameters.QueueUrl": aws.ToString(queue.QueueUrl)})
}

// expect waits for a line of an operation with such members.
func expect(t *testing.T, agent *agent, operation string, members map[string]string) {
	t.Helper()
	words := strings.SplitN(operation, " ", 3)
	eventually(t, fmt.Sprintf("%s with %v", operation, members), func() bool {
		for _, it := range agent.of(t, words[0], words[1], words[2]) {
			if it.has(members) {
				return true
			}
		}
		return false
	})
}
