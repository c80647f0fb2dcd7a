package tests

// Programs that know nothing of the shim, built with the overlay.

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const practice = "../../../practice/clients/go"

// overlayFor makes one for a program, and gives the path of its JSON.
func overlayFor(t *testing.T, program, name string, flags ...string) string {
	t.Helper()
	whole, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	arguments := append([]string{"run", "./overlay", "-for", whole, "-o", filepath.Join(scratch, name)}, flags...)
	return strings.TrimSpace(goRun(t, "..", arguments...))
}

// copied is a copy of the practice's client in a folder of the test's own.
func copied(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(practice, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAProgramThatIsBuiltWithTheOverlayIsToldOfUnchanged(t *testing.T) {
	before, err := os.ReadFile(filepath.Join(practice, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	program := goBuild(t, practice, "client", "-overlay", overlayFor(t, practice, "overlaid"))
	endpoint := motoServer(t)
	cfg := watched(t, config.WithBaseEndpoint(endpoint))
	store := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	must[*s3.CreateBucketOutput](t)(store.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: aws.String("practice"),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"}}))
	agent, socket := agentOf(t)
	// The client has no setting for path style, and a name that resolves to the loopback has no bucket's name before it: the
	// SDK goes to the endpoint through a proxy that takes any name.
	ended := run(t, program, "AWS_ENDPOINT_URL=http://moto.invalid", "HTTP_PROXY="+proxyTo(t, endpoint), "BUCKET=practice",
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIAROLECALLTEST", "AWS_SECRET_ACCESS_KEY=the-secret",
		"ROLECALL_CALLS_SOCKET="+socket, "ROLECALL_CALLS_FLUSH_MS=100")
	if ended.code != 0 || !strings.Contains(ended.out, `"object":"practice/go.txt"`) {
		t.Fatalf("%+v", ended)
	}
	eventually(t, "three calls", func() bool { return counted(agent.lines(t)) == 3 })
	expect(t, agent, "ApiCall STS GetCallerIdentity", map[string]string{"AccessKey": "AKIAROLECALLTEST"})
	expect(t, agent, "ApiCall S3 PutObject", map[string]string{"Parameters.Bucket": "practice", "Parameters.Key": "practice/go.txt"})
	expect(t, agent, "ApiCall S3 GetObject", map[string]string{"Parameters.Bucket": "practice", "Region": "eu-central-1"})
	lines := agent.lines(t)
	if hello := lines[0]; hello.text("SdkVersion") != "1.48.0" {
		t.Errorf("%v", hello)
	}
	for _, it := range lines[1:] {
		if it.text("Type") == "ApiCall" && (it["FinalHttpStatusCode"] != 200.0 || it.text("XAmznRequestId")+it.text("XAmzRequestId") == "") {
			t.Errorf("%v", it)
		}
	}
	if after, err := os.ReadFile(filepath.Join(practice, "go.mod")); err != nil || string(after) != string(before) {
		t.Errorf("go.mod is another: %v", err)
	}
}

func TestAVendorFolderAndAWorkspaceAreOverlaidToo(t *testing.T) {
	prepare := map[string]func(folder string){
		"vendor": func(folder string) { goRun(t, folder, "mod", "vendor") },
		"work":   func(folder string) { goRun(t, folder, "work", "init", ".") },
	}
	endpoint := stsThat(t, http.StatusOK)
	for name, prepare := range prepare {
		t.Run(name, func(t *testing.T) {
			folder := copied(t)
			prepare(folder)
			program := goBuild(t, folder, "client-"+name, "-overlay", overlayFor(t, folder, "overlaid-"+name))
			agent, socket := agentOf(t)
			ended := run(t, program, "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIAROLECALLTEST",
				"AWS_SECRET_ACCESS_KEY=the-secret", "ROLECALL_CALLS_SOCKET="+socket)
			if ended.code != 0 || !strings.Contains(ended.out, "123456789012") {
				t.Fatalf("%+v", ended)
			}
			expect(t, agent, "ApiCall STS GetCallerIdentity", map[string]string{"AccessKey": "AKIAROLECALLTEST", "Region": "eu-central-1"})
		})
	}
}

func TestAnSDKOfAnOlderGenerationIsOverlaidToo(t *testing.T) {
	program := goBuild(t, "programs/old", "old", "-overlay", overlayFor(t, "programs/old", "overlaid-old"))
	agent, socket := agentOf(t)
	if ended := run(t, program, "ENDPOINT="+stsThat(t, http.StatusForbidden), "ROLECALL_CALLS_SOCKET="+socket); ended.out != "failed\n" {
		t.Fatalf("%+v", ended)
	}
	expect(t, agent, "ApiCall STS AssumeRole", map[string]string{"AccessKey": "AKIAROLECALLTEST", "Region": "eu-central-1",
		"FinalAwsException": "AccessDenied", "XAmznRequestId": "R1", "Parameters.TokenCode": "<redacted mfa-code>",
		"Parameters.RoleArn": "arn:aws:iam::123456789012:role/reader"})
	if hello := agent.lines(t)[0]; hello.text("SdkVersion") != "1.30.0" || strings.Contains(agent.text(), "the-session-token") {
		t.Errorf("%v", hello)
	}
}

func TestWithExitTheEndOfAProgramThatKnowsNothingIsTold(t *testing.T) {
	program := goBuild(t, practice, "client-exit", "-overlay", overlayFor(t, practice, "overlaid-exit", "-exit"))
	// The end of main, and os.Exit with another code than 0.
	for status, code := range map[int]int{http.StatusOK: 0, http.StatusForbidden: 1} {
		agent, socket := agentOf(t)
		ended := run(t, program, "AWS_ENDPOINT_URL="+stsThat(t, status), "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIAROLECALLTEST",
			"AWS_SECRET_ACCESS_KEY=the-secret", "ROLECALL_CALLS_SOCKET="+socket)
		if ended.code != code {
			t.Fatalf("%+v", ended)
		}
		agent.isThrough(t)
		if lines := agent.lines(t); counted(lines) != 1 {
			t.Errorf("%v", lines)
		}
	}
}

func TestAProgramWithTheLineAndTheOverlayIsToldOfOnce(t *testing.T) {
	program := goBuild(t, "programs/repeat", "twice", "-overlay", overlayFor(t, "programs/repeat", "overlaid-twice"))
	agent, socket := agentOf(t)
	run(t, program, "ENDPOINT="+stsThat(t, http.StatusOK), "ROLECALL_CALLS_SOCKET="+socket, "TIMES=4").isOf(t, 4)
	agent.isThrough(t)
	if lines := agent.lines(t); counted(lines) != 4 {
		t.Errorf("%v", lines)
	}
}

func TestTheOverlayRefusesWhatIsNoProgramOfTheSDKAndAFolderThatIsNotItsOwn(t *testing.T) {
	command := goBuild(t, "../overlay", "overlay")
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "go.mod"), []byte("module example.com/none\n\ngo 1.24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := runIn(t, empty, command, "-o", filepath.Join(scratch, "none"))
	if ended.code != 1 || !strings.Contains(ended.err, "does not use the AWS SDK for Go v2") {
		t.Errorf("%+v", ended)
	}
	ended = runIn(t, empty, command, "-o", empty)
	if ended.code != 1 || !strings.Contains(ended.err, "is not empty") {
		t.Errorf("%+v", ended)
	}
	if _, err := os.Stat(filepath.Join(empty, "go.mod")); err != nil {
		t.Error(err)
	}
}

// proxyTo is an HTTP proxy that sends whatever it is asked to one server.
func proxyTo(t *testing.T, endpoint string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, asked *http.Request) {
		forward := asked.Clone(asked.Context())
		forward.RequestURI = ""
		forward.URL.Host = strings.TrimPrefix(endpoint, "http://")
		if bucket, _, ok := strings.Cut(asked.Host, ".moto.invalid"); ok && bucket != "" {
			forward.URL.Path = "/" + bucket + forward.URL.Path
		}
		forward.Host = forward.URL.Host
		answer, err := http.DefaultTransport.RoundTrip(forward)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		for name, values := range answer.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}
