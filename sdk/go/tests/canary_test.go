package tests

// Every input of several services, filled with texts that must not leave unless rules.json says so: nothing does.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	rolecall "rolecall/sdk/go"
)

var canary = regexp.MustCompile(`canary\d+`)

// A filler puts a text of its own in each place, and knows which is where.
type filler struct{ paths map[string]string }

func (f *filler) text(path string) string {
	text := fmt.Sprintf("canary%d", len(f.paths))
	f.paths[text] = path
	return text
}

func (f *filler) fill(v reflect.Value, path string, depth int) {
	if depth > 10 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path, depth)
	case reflect.String:
		v.SetString(f.text(path))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(f.text(path)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0), path+"[]", depth+1)
	case reflect.Map:
		key := reflect.New(v.Type().Key()).Elem()
		f.fill(key, path+"{}", depth+1)
		value := reflect.New(v.Type().Elem()).Elem()
		f.fill(value, path+within(value.Type()), depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Interface:
		f.fillInterface(v, path)
	case reflect.Struct:
		if v.Type() == reflect.TypeOf(time.Time{}) {
			v.Set(reflect.ValueOf(time.Now()))
			return
		}
		for at := 0; at < v.NumField(); at++ {
			if it := v.Type().Field(at); it.IsExported() {
				f.fill(v.Field(at), strings.TrimPrefix(path+"."+it.Name, "."), depth+1)
			}
		}
	}
}

// within is what a value of a map adds to its path: a simple one has no path of its own, and is told nowhere.
func within(value reflect.Type) string {
	switch value.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Pointer:
		return "{}"
	}
	return "{}.value"
}

func (f *filler) fillInterface(v reflect.Value, path string) {
	for _, it := range []any{strings.NewReader(f.text(path)), &dynamotypes.AttributeValueMemberS{Value: f.text(path)}} {
		if reflect.TypeOf(it).Implements(v.Type()) {
			v.Set(reflect.ValueOf(it))
			return
		}
	}
}

// book is rules.json as this test reads it: simpler than the shim does, and on its own.
type book struct {
	Redact []struct {
		Service string
		Names   []string
	}
	Keep struct{ Names, Endings, KeysOf []string }
}

func readBook(t *testing.T) (rules book) {
	t.Helper()
	text, err := os.ReadFile("../../../conformance/calls/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

func like(pattern, name string) bool {
	pattern = strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("(?i)^" + pattern + "$").MatchString(name)
}

func (b book) mayTell(service, path string) bool {
	members := strings.Split(strings.NewReplacer("[]", "", "{}", "").Replace(path), ".")
	for _, rule := range b.Redact {
		if rule.Service != "" && !strings.EqualFold(rule.Service, service) {
			continue
		}
		for _, name := range rule.Names {
			for _, member := range members {
				if like(name, member) {
					return false
				}
			}
		}
	}
	last := members[len(members)-1]
	patterns := b.Keep.Names
	for _, ending := range b.Keep.Endings {
		patterns = append(patterns[:len(patterns):len(patterns)], "*"+ending)
	}
	if strings.HasSuffix(path, "{}") {
		patterns = b.Keep.KeysOf
	}
	for _, pattern := range patterns {
		if like(pattern, last) {
			return true
		}
	}
	return false
}

// refusing answers every request with an error, without a network.
type refusing struct{}

func (refusing) Do(asked *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: asked}, nil
}

func TestNoTextLeavesTheProcessThatTheRulesDoNotKeep(t *testing.T) {
	agent, rules := ownAgent(t), readBook(t)
	cfg := watched(t)
	cfg.HTTPClient = refusing{}
	clients := map[string]any{"S3": s3.NewFromConfig(cfg), "STS": sts.NewFromConfig(cfg), "SQS": sqs.NewFromConfig(cfg),
		"DynamoDB": dynamodb.NewFromConfig(cfg), "SSM": ssm.NewFromConfig(cfg), "Secrets Manager": secretsmanager.NewFromConfig(cfg),
		"KMS": kms.NewFromConfig(cfg), "Lambda": lambda.NewFromConfig(cfg), "IAM": iam.NewFromConfig(cfg)}
	fill := &filler{paths: map[string]string{}}
	called := map[string]bool{}
	for service, client := range clients {
		of := reflect.ValueOf(client)
		for at := 0; at < of.NumMethod(); at++ {
			method, name := of.Method(at), of.Type().Method(at).Name
			if method.Type().NumIn() != 3 || method.Type().NumOut() != 2 || !strings.HasSuffix(method.Type().In(1).String(), "Input") {
				continue
			}
			input := reflect.New(method.Type().In(1).Elem())
			fill.fill(input.Elem(), "", 0)
			method.Call([]reflect.Value{reflect.ValueOf(context.Background()), input})
			called[service+" "+name] = true
		}
	}
	rolecall.Flush()
	told, withParameters, kept := map[string]bool{}, map[string]bool{}, 0
	eventually(t, "all operations are told", func() bool {
		for _, it := range agent.lines(t) {
			if operation := it.text("Service") + " " + it.text("Api"); called[operation] {
				told[operation] = true
				if it["Parameters"] != nil {
					withParameters[operation] = true
				}
			}
		}
		return len(told) == len(called)
	})
	for _, it := range agent.lines(t) {
		service := it.text("Service")
		parameters, _ := it["Parameters"].(map[string]any)
		delete(it, "Parameters")
		// Its host is what the operation's RequestRoute says, and hosts are told.
		if it.text("Api") == "WriteGetObjectResponse" {
			delete(it, "Fqdn")
		}
		if rest, err := json.Marshal(it); err != nil || hasSecretCanary(rules, fill, service, string(rest)) {
			t.Errorf("%v, beside the parameters: %s", err, rest)
		}
		for path := range parameters {
			for _, value := range (line{"Parameters": parameters}).parameter(path) {
				for _, found := range canary.FindAllString(value, -1) {
					kept++
					if !rules.mayTell(service, fill.paths[found]) || !strings.EqualFold(path, fill.paths[found]) {
						t.Errorf("%s: %s is told at %s", service, fill.paths[found], path)
					}
				}
			}
		}
	}
	if len(called) < 500 || len(withParameters) < 500 || kept < 1000 {
		t.Errorf("%d operations, %d with parameters, %d texts that are kept", len(called), len(withParameters), kept)
	}
	t.Logf("%d operations, %d told with parameters; of %d texts %d were told", len(called), len(withParameters), len(fill.paths), kept)
}

// hasSecretCanary is about what is not a parameter: a host may have a bucket's name before it, and nothing else.
func hasSecretCanary(rules book, fill *filler, service, text string) bool {
	for _, found := range canary.FindAllString(text, -1) {
		if !rules.mayTell(service, fill.paths[found]) {
			return true
		}
	}
	return false
}

func TestWhatTheRulesRedactIsMarked(t *testing.T) {
	agent := ownAgent(t)
	cfg := watched(t)
	cfg.HTTPClient = refusing{}
	secrets := secretsmanager.NewFromConfig(cfg)
	_, err := secrets.PutSecretValue(context.Background(), &secretsmanager.PutSecretValueInput{SecretId: aws.String("marked"),
		SecretString: aws.String("the-secret-string"), RotationToken: aws.String("the-rotation")})
	if err == nil {
		t.Fatal("it was not refused")
	}
	eventually(t, "the call is told", func() bool {
		for _, it := range agent.of(t, "ApiCall", "Secrets Manager", "PutSecretValue") {
			if strings.Join(it.parameter("SecretId"), "") == "marked" {
				return strings.Join(it.parameter("SecretString"), "") == "<redacted secret>" &&
					strings.Join(it.parameter("RotationToken"), "") == "<redacted secret>"
			}
		}
		return false
	})
}
