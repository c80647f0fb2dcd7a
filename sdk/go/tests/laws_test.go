package tests

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestEveryCallIsToldOfAndByeComesLast(t *testing.T) {
	agent, socket := agentOf(t)
	run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+socket, "TIMES=50").isOf(t, 50)
	agent.isThrough(t)
	lines := agent.lines(t)
	if found := counted(lines); found != 50 {
		t.Errorf("%d calls", found)
	}
	if first := lines[0]; first.text("Type") != "Hello" || first.text("Language") != "go" || first.text("SdkVersion") != "1.48.0" {
		t.Errorf("%v", first)
	}
}

func TestAFirstDenialIsOnTheSocketBeforeTheProgramKnowsOfIt(t *testing.T) {
	agent, socket := agentOf(t)
	ended := run(t, repeat(t), "ENDPOINT="+stsThat(t, 403), "ROLECALL_CALLS_SOCKET="+socket, "STOP_AFTER_CALL=1")
	if ended.code != -1 || ended.out != "AccessDenied\n" {
		t.Fatalf("%+v", ended)
	}
	eventually(t, "a call", func() bool { return counted(agent.lines(t)) == 1 })
	call := agent.of(t, "ApiCall", "STS", "GetCallerIdentity")[0]
	for name, expected := range map[string]string{"FinalAwsException": "AccessDenied", "AccessKey": "AKIAROLECALLTEST",
		"Region": "eu-central-1", "Fqdn": "127.0.0.1", "XAmznRequestId": "R1"} {
		if call.text(name) != expected {
			t.Errorf("%s: %q", name, call.text(name))
		}
	}
	if call["FinalHttpStatusCode"] != 403.0 {
		t.Errorf("%v", call)
	}
}

func TestWhereNobodyListensTheProgramGoesOnAndEnds(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.sock")
	ended := run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+none, "TIMES=20")
	ended.isOf(t, 20)
	if ended.took > 5*time.Second {
		t.Errorf("%v", ended.took)
	}
}

func TestAPeerThatNeverReadsHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.sock")
	listen(t, "unix", path, false)
	ended := run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+path, "TIMES=20")
	ended.isOf(t, 20)
	if ended.took > 5*time.Second {
		t.Errorf("%v", ended.took)
	}
}

func TestAPeerThatNeverAcceptsHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.sock")
	// Nobody takes the connections, and there is room for few.
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+path, "TIMES=20")
	ended.isOf(t, 20)
	if ended.took > 5*time.Second {
		t.Errorf("%v", ended.took)
	}
}

func TestAnAgentThatDiesAndComesBackGetsWhatWasCountedMeanwhile(t *testing.T) {
	first, socket := agentOf(t)
	wait := start(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+socket, "ROLECALL_CALLS_FLUSH_MS=100",
		"TIMES=60", "WAIT=50")
	eventually(t, "the first calls", func() bool { return counted(first.lines(t)) >= 5 })
	first.close()
	second := listen(t, "unix", socket, true)
	wait().isOf(t, 60)
	second.isThrough(t)
	// What was in the socket of the agent that died is gone: one line, of what was made in one flush.
	if told := counted(first.lines(t)) + counted(second.lines(t)); told < 50 || told > 60 {
		t.Errorf("%d calls", told)
	}
	if lines := second.lines(t); lines[0].text("Type") != "Hello" {
		t.Errorf("%v", lines)
	}
}

func TestTheFileCallsOffStopsIt(t *testing.T) {
	agent, socket := agentOf(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(socket), "calls.off"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+socket, "TIMES=5").isOf(t, 5)
	agent.hadNobody(t)
}

func TestCallsThatAreOffDoNothingAtAll(t *testing.T) {
	agent, socket := agentOf(t)
	run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+socket, "ROLECALL_CALLS=off", "TIMES=5").isOf(t, 5)
	agent.hadNobody(t)
}

func TestOverTCPTheCountsAreToldToo(t *testing.T) {
	agent := listen(t, "tcp", "127.0.0.1:0", true)
	run(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET=tcp://"+agent.listener.Addr().String(), "TIMES=10").isOf(t, 10)
	agent.isThrough(t)
	if found := counted(agent.lines(t)); found != 10 {
		t.Errorf("%d calls", found)
	}
}

func TestWithoutAnEndTheTimerTellsWhatWaits(t *testing.T) {
	agent, socket := agentOf(t)
	wait := start(t, repeat(t), "ENDPOINT="+stsThat(t, 200), "ROLECALL_CALLS_SOCKET="+socket, "NO_END=1", "TIMES=11", "LINGER=1")
	began := time.Now()
	eventually(t, "11 calls", func() bool { return counted(agent.lines(t)) == 11 })
	if waited := time.Since(began); waited > 5*time.Second {
		t.Errorf("%v, where a second without a call was enough", waited)
	}
	wait().isOf(t, 11)
}

func TestACallThatNobodyAnswersIsToldWithTheErrorOfTheSDK(t *testing.T) {
	agent, socket := agentOf(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	run(t, repeat(t), "ENDPOINT=http://"+listener.Addr().String(), "ROLECALL_CALLS_SOCKET="+socket)
	eventually(t, "a call", func() bool { return counted(agent.lines(t)) == 1 })
	call := agent.of(t, "ApiCall", "STS", "GetCallerIdentity")[0]
	if call.text("FinalSdkException") != "RequestSendError" || call["FinalHttpStatusCode"] != nil {
		t.Errorf("%v", call)
	}
}
