package tests

// Programs that are built and run as processes of their own.

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const account = "123456789012\n"

// scratch is the folder of what is built; TestMain removes it.
var scratch string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "rolecall-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	// The shim of this process itself, for the tests that use clients in it.
	os.Setenv("ROLECALL_CALLS_SOCKET", filepath.Join(scratch, "own.sock"))
	os.Setenv("ROLECALL_CALLS_FLUSH_MS", "100")
	os.Unsetenv("ROLECALL_CALLS")
	// And nothing of whoever runs the tests.
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION"} {
		os.Unsetenv(name)
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		os.Setenv(name, filepath.Join(scratch, "no-configuration"))
	}
	return m.Run()
}

// goBuild builds what is in a folder, and gives the path of the program. Without paths in it, so that Go's cache knows it again.
func goBuild(t *testing.T, folder, name string, arguments ...string) string {
	t.Helper()
	program := filepath.Join(scratch, name)
	goRun(t, folder, append([]string{"build", "-trimpath", "-o", program}, append(arguments, ".")...)...)
	return program
}

func goRun(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	command := exec.Command("go", arguments...)
	command.Dir = folder
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, text)
	}
	return string(text)
}

var buildRepeat sync.Once

// repeat is the program that makes calls of STS.
func repeat(t *testing.T) string {
	t.Helper()
	buildRepeat.Do(func() { goBuild(t, "programs/repeat", "repeat") })
	return filepath.Join(scratch, "repeat")
}

type done struct {
	out, err string
	code     int
	took     time.Duration
}

func start(t *testing.T, program string, environment ...string) (wait func() done) {
	t.Helper()
	command := exec.Command(program)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + scratch}, environment...)
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return func() done {
		_ = in.Close()
		err := command.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return done{out.String(), complaint.String(), command.ProcessState.ExitCode(), time.Since(began)}
	}
}

func run(t *testing.T, program string, environment ...string) done {
	t.Helper()
	return start(t, program, environment...)()
}

// runIn runs a command in a folder, with this process's own environment.
func runIn(t *testing.T, folder, program string, arguments ...string) done {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Dir = folder
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return done{out: out.String(), err: complaint.String(), code: command.ProcessState.ExitCode()}
}

func (d done) isOf(t *testing.T, times int) {
	t.Helper()
	if d.out != strings.Repeat(account, times) || d.err != "" || d.code != 0 {
		t.Errorf("code %d\n%s%s", d.code, d.out, d.err)
	}
}
