package dev.rolecall.shim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ShimTest {
    private static final Path VECTORS = Path.of("../../conformance/calls");

    @TempDir
    Path folder;

    @Test
    @DisplayName("the rules in the jar are those of the specification")
    void rules() throws Exception {
        assertArrayEquals(Files.readAllBytes(VECTORS.resolve("rules.json")),
                Shim.class.getResourceAsStream("rules.json").readAllBytes());
    }

    @Test
    @DisplayName("every case of redaction.json is kept or taken out as it says")
    void redaction() throws Exception {
        for (Map<?, ?> each : cases("redaction.json")) {
            String path = (String) each.get("path");
            String value = (String) each.get("value");
            String verdict = Redact.verdict((String) each.get("service"), path, false);
            String form = Redact.byForm(value);
            boolean marked = verdict != null && !verdict.isEmpty();
            String got = marked ? verdict : form != null ? Redact.marker(form) : verdict == null ? null : value;
            Object kind = each.get("kind");
            assertEquals(kind == null ? value : Redact.marker((String) kind), got, each.toString());
        }
    }

    @Test
    @DisplayName("every case of outcomes.json has the class that it says")
    void outcomes() throws Exception {
        for (Map<?, ?> each : cases("outcomes.json")) {
            int status = each.get("status") == null ? 0 : ((Double) each.get("status")).intValue();
            assertEquals(each.get("outcome"), Outcome.of(status, (String) each.get("code")), each.toString());
        }
    }

    @Test
    @DisplayName("a hundred thousand different calls stay within the table, and all are told of or counted as lost")
    void bounded() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            Shim shim = shim(agent.socket);
            for (int i = 0; i < 100_000; i++) {
                shim.ended(call("Op" + i));
            }
            assertTrue(shim.rows() <= 4096);
            finish(shim, agent);
            assertEquals(100_000, agent.calls());
        }
    }

    @Test
    @DisplayName("without a listener the table stays bounded, and a listener that comes later gets every count")
    void listenerComesLater() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        for (int i = 0; i < 10_000; i++) {
            shim.ended(call("Op" + i % 5_000));
        }
        assertEquals(4096, shim.rows());
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            finish(shim, agent);
            assertEquals(10_000, agent.calls());
        }
    }

    @Test
    @DisplayName("a listener that accepts and never reads holds nobody up")
    void neverReads() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), false)) {
            Shim shim = shim(agent.socket);
            long start = System.nanoTime();
            for (int i = 0; i < 20_000; i++) {
                shim.ended(call("Op" + i));
            }
            shim.goodbye();
            assertTrue(System.nanoTime() - start < 10_000_000_000L);
            assertTrue(shim.rows() <= 4096);
        }
    }

    @Test
    @DisplayName("a listener that dies and comes back gets a greeting and the counts")
    void comesBack() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            shim.ended(call("A"));
            agent.one("ApiCall", "A");
        }
        shim.ended(call("B"));
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            until(() -> shim.flush() && !agent.of("ApiCall", "B").isEmpty());
            shim.ended(call("A"));
            finish(shim, agent);
            assertEquals("Hello", agent.lines.get(0).get("Type"));
            assertEquals(2, agent.calls());
        }
    }

    @Test
    @DisplayName("the file calls.off silences it, and ten mistakes switch it off and are told")
    void switches() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            Files.createFile(folder.resolve("calls.off"));
            Shim silent = shim(agent.socket);
            silent.ended(call("A"));
            assertEquals(0, silent.rows());
            Files.delete(folder.resolve("calls.off"));
            Shim shim = shim(agent.socket);
            for (int i = 0; i < 10; i++) {
                shim.mistake(1);
            }
            shim.ended(call("B"));
            finish(shim, agent);
            assertEquals(11, agent.calls());
            assertTrue(agent.of("ApiCall", null).isEmpty());
        }
    }

    @Test
    @DisplayName("a line that is too long goes without parameters")
    void longLine() {
        Call call = call("A");
        call.parameters = Collections.singletonMap("Key", Collections.nCopies(16, "x".repeat(2000)));
        byte[] line = Line.call(call, 1, 1, 1, 0, null);
        assertTrue(line.length < 8192 && !new String(line).contains("Parameters"));
    }

    @Test
    void aFailureAfterACallWasCountedLosesItExactlyOnce() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            for (String place : List.of("line", "sender")) {
                Shim shim = shim(agent.socket);
                Faults.at = at -> {
                    if (at.equals(place)) {
                        throw new IllegalStateException("injected");
                    }
                };
                shim.ended(call("A"));
                shim.ended(call("A"));
                shim.ended(call("A"));
                Faults.at = null;
                finish(shim, agent);
                assertEquals(1, agent.lost("error"), place);
                assertEquals(3, agent.calls(), place);
                agent.lines.clear();
            }
        } finally {
            Faults.at = null;
        }
    }

    @Test
    void aFailureToTellADenialLeavesItsCountAndTenSwitchOff() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        Call denial = call("A");
        denial.status = 403;
        try {
            Faults.at = at -> {
                if (at.equals("outcome")) {
                    throw new IllegalStateException("injected");
                }
            };
            for (int i = 0; i < 12; i++) {
                shim.ended(denial);
            }
        } finally {
            Faults.at = null;
        }
        assertTrue(shim.broken());
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            finish(shim, agent);
            assertEquals(12, agent.lost("off"));
            assertEquals(12, agent.calls());
        }
    }

    @Test
    void atTheEndASocketInBackOffIsTriedOnceMoreAtOnce() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        shim.ended(call("A"));
        shim.ended(call("A"));
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            shim.ended(call("A"));
            assertTrue(agent.lines.isEmpty());
            // The wait before the next attempt is a second at least; the last words take no more than a fifth of one.
            shim.goodbye();
            agent.one("Bye", null);
            assertEquals(3, agent.calls());
        }
    }

    @Test
    void atTheEndAStreamThatDiedIsOpenedOnceMore() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            shim.ended(call("A"));
            agent.one("ApiCall", "A");
        }
        shim.ended(call("A"));
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            shim.goodbye();
            agent.one("Bye", null);
            assertEquals(1, agent.calls());
        }
    }

    @Test
    void withoutAListenerTheEndComesAtOnce() throws Exception {
        Shim shim = shim(folder.resolve("s"));
        shim.ended(call("A"));
        int tries = 0;
        long best = Long.MAX_VALUE;
        // The best of several, for the machine may be busy.
        while (tries++ < 20 && best >= 100_000_000) {
            long start = System.nanoTime();
            shim.goodbye();
            best = Math.min(best, System.nanoTime() - start);
        }
        assertTrue(best < 100_000_000, best + " ns");
    }

    @Test
    void inAFullTableARowThatWasToldMakesRoomWhereverItIs() throws Exception {
        Shim shim;
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            shim = shim(agent.socket);
            for (int i = 0; i < 4096; i++) {
                shim.ended(call("Op" + i));
            }
            until(shim::flush);
            until(() -> agent.calls() == 4096);
        }
        // All but the youngest owe a call now; a new one takes its place and leaves by the buffer, so that the next takes
        // the place of that. The last finds none that owes nothing.
        for (int i = 0; i < 4095; i++) {
            shim.ended(call("Op" + i));
        }
        shim.ended(call("New"));
        shim.ended(call("Newer"));
        shim.ended(call("Newest"));
        assertEquals(4096, shim.rows());
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            finish(shim, agent);
            assertEquals(1, agent.of("ApiCall", "New").size());
            assertEquals(1, agent.of("ApiCall", "Newer").size());
            assertEquals(1, agent.lost("full"));
            assertEquals(4098, agent.calls());
        }
    }

    @Test
    void theFlushThreadSleepsForItsIntervalAndOutlivesAFailure() throws Exception {
        List<Long> wakes = new CopyOnWriteArrayList<>();
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            Faults.at = at -> {
                if (at.equals("flush")) {
                    wakes.add(System.nanoTime());
                    if (wakes.size() == 1) {
                        throw new LinkageError("injected");
                    }
                }
            };
            Shim shim = new Shim(new Settings(null, agent.socket.toString(), "400"));
            shim.hello("aws-sdk-java", "test");
            long start = System.nanoTime();
            shim.start();
            shim.ended(call("A"));
            shim.ended(call("A"));
            until(() -> agent.calls() == 2);
            shim.goodbye();
            // It may sleep longer on a busy machine, never shorter.
            assertTrue(wakes.size() >= 2 && wakes.get(0) - start >= 390_000_000L);
            assertTrue(wakes.get(1) - wakes.get(0) >= 390_000_000L);
        } finally {
            Faults.at = null;
        }
    }

    @Test
    void aThreadThatWasInterruptedTellsOnTheSameStreamAndStaysInterrupted() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            Shim shim = shim(agent.socket);
            Thread.currentThread().interrupt();
            shim.ended(call("A"));
            shim.ended(call("B"));
            assertTrue(Thread.interrupted());
            agent.one("ApiCall", "B");
            assertEquals(1, agent.of("Hello", null).size());
        } finally {
            Thread.interrupted();
        }
    }

    static Call call(String api) {
        Call call = new Call();
        call.service = "S3";
        call.api = api;
        call.status = 200;
        call.began = 1;
        return call;
    }

    /** Without its thread: nothing is sent but by what a test does. */
    static Shim shim(Path socket) {
        Shim shim = new Shim(new Settings(null, socket.toString(), null));
        shim.hello("aws-sdk-java", "test");
        return shim;
    }

    static void finish(Shim shim, Agent agent) throws Exception {
        until(shim::flush);
        shim.goodbye();
        agent.one("Bye", null);
    }

    /** Waits for what comes to be, however slow the machine is; never longer than ten seconds. */
    static void until(BooleanSupplier holds) throws Exception {
        long end = System.nanoTime() + 10_000_000_000L;
        while (!holds.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, "not within ten seconds");
            Thread.sleep(5);
        }
    }

    private static List<Map<?, ?>> cases(String file) throws Exception {
        @SuppressWarnings("unchecked")
        List<Map<?, ?>> out = (List<Map<?, ?>>) ((Map<?, ?>) Json.read(Files.readString(VECTORS.resolve(file)))).get("cases");
        return out;
    }
}
