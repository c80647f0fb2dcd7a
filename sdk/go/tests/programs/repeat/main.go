// Calls of STS: TIMES of them, WAIT ms apart, each told on its standard output. With LINGER it
// stays until its standard input ends. The tests run it as a process of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	rolecall "rolecall/sdk/go"
)

func main() {
	cfg := aws.Config{
		Region:       "eu-central-1",
		BaseEndpoint: aws.String(os.Getenv("ENDPOINT")),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAROLECALLTEST", "the-secret", "the-session-token"),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	}
	rolecall.Watch(&cfg)
	if os.Getenv("NO_END") == "" {
		defer rolecall.End()
	}
	client := sts.NewFromConfig(cfg)
	times, wait := number("TIMES", 1), number("WAIT", 0)
	for left := times; left > 0; left-- {
		fmt.Println(ask(client))
		if os.Getenv("STOP_AFTER_CALL") != "" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		if left > 1 {
			time.Sleep(time.Duration(wait) * time.Millisecond)
		}
	}
	if os.Getenv("LINGER") != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

func ask(client *sts.Client) string {
	answer, err := client.GetCallerIdentity(context.Background(), nil)
	var ofService smithy.APIError
	switch {
	case err == nil:
		return aws.ToString(answer.Account)
	case errors.As(err, &ofService):
		return ofService.ErrorCode()
	}
	return err.Error()
}

func number(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}
