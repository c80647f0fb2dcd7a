// The client asks who it is and, where BUCKET is set, writes and reads one object.
// The credentials come from the SDK's own default chain: nothing here says where they are.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const object = "practice/go.txt"

type line struct {
	Client      string  `json:"client"`
	Account     string  `json:"account"`
	Arn         string  `json:"arn"`
	AccessKeyID string  `json:"access_key_id"`
	Bucket      *string `json:"bucket"`
	Object      *string `json:"object"`
}

func main() {
	repeat := flag.Int("repeat", 1, "how often to ask")
	every := flag.Int("every", 0, "milliseconds between two asks")
	flag.Parse()
	if err := run(context.Background(), *repeat, time.Duration(*every)*time.Millisecond); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, repeat int, every time.Duration) error {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	identity := sts.NewFromConfig(loaded)
	store := s3.NewFromConfig(loaded)
	for left := repeat; left > 0; left-- {
		if err := ask(ctx, loaded, identity, store, os.Getenv("BUCKET")); err != nil {
			return err
		}
		if left > 1 {
			time.Sleep(every)
		}
	}
	return nil
}

func ask(ctx context.Context, loaded aws.Config, identity *sts.Client, store *s3.Client, bucket string) error {
	caller, err := identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	credentials, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	answer := line{
		Client:      "go",
		Account:     aws.ToString(caller.Account),
		Arn:         aws.ToString(caller.Arn),
		AccessKeyID: credentials.AccessKeyID,
	}
	if bucket != "" {
		if err := writeAndRead(ctx, store, bucket, answer.Arn); err != nil {
			return err
		}
		answer.Bucket, answer.Object = aws.String(bucket), aws.String(object)
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func writeAndRead(ctx context.Context, store *s3.Client, bucket, text string) error {
	_, err := store.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(object), Body: strings.NewReader(text),
	})
	if err != nil {
		return err
	}
	got, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	read, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if string(read) != text {
		return fmt.Errorf("`%s` in `%s` is not what was written", object, bucket)
	}
	return nil
}
