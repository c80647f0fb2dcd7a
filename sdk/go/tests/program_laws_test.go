package tests

// What the program's own middleware does stays as it is.

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// storeWith is a client whose stack has a part of the program's own behind the shim's.
func storeWith(t *testing.T, part func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error)) *s3.Client {
	t.Helper()
	cfg := watched(t)
	cfg.HTTPClient = refusing{}
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("Programs", part), middleware.After)
	})
	return s3.NewFromConfig(cfg)
}

// toldOf waits for the line of a bucket's operation.
func toldOf(t *testing.T, agent *agent, bucket string) (found line) {
	t.Helper()
	eventually(t, bucket+" is told", func() bool {
		for _, it := range agent.lines(t) {
			if strings.Join(it.parameter("Bucket"), "") == bucket {
				found = it
				return true
			}
		}
		return false
	})
	return found
}

func TestAPanicOfTheProgramStaysThePrograms(t *testing.T) {
	agent := ownAgent(t)
	store := storeWith(t, func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
		panic("of the program")
	})
	func() {
		defer func() {
			if found := recover(); found != "of the program" {
				t.Errorf("%v", found)
			}
		}()
		_, _ = store.HeadBucket(context.Background(), &s3.HeadBucketInput{Bucket: aws.String("panics")})
		t.Error("the panic did not reach the program")
	}()
	if call := toldOf(t, agent, "panics"); call.text("FinalSdkException") != "panic" {
		t.Errorf("%v", call)
	}
}

func TestTheErrorThatTheProgramGetsIsItsOwn(t *testing.T) {
	agent, own := ownAgent(t), errors.New("the-text-of-an-error")
	store := storeWith(t, func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (out middleware.FinalizeOutput, metadata middleware.Metadata, err error) {
		return out, metadata, own
	})
	if _, err := store.HeadBucket(context.Background(), &s3.HeadBucketInput{Bucket: aws.String("fails")}); !errors.Is(err, own) {
		t.Error(err)
	}
	if call := toldOf(t, agent, "fails"); call.text("FinalSdkException") == "" || strings.Contains(agent.text(), "the-text-of-an-error") {
		t.Errorf("%v", call)
	}
}
