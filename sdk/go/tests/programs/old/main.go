// One call of STS, with an SDK of mid 2024: before its clients put their names into a context, and before schemas.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	client := sts.New(sts.Options{
		Region:       "eu-central-1",
		BaseEndpoint: aws.String(os.Getenv("ENDPOINT")),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAROLECALLTEST", "the-secret", "the-session-token"),
	})
	answer, err := client.AssumeRole(context.Background(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/reader"), RoleSessionName: aws.String("old"), TokenCode: aws.String("123456"),
	})
	if err != nil {
		fmt.Println("failed")
		return
	}
	fmt.Println(answer.AssumedRoleUser != nil)
}
