package dev.rolecall.shim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The jar in processes of their own, with the real SDKs, against a real server. */
class SdkTest {
    private static final String JAR = Path.of("target/rolecall-shim.jar").toAbsolutePath().toString();
    private static Process moto;
    private static String endpoint;

    @TempDir
    Path folder;

    @BeforeAll
    static void server() throws Exception {
        String program = System.getenv("ROLECALL_MOTO");
        assertTrue(program != null && new File(program).canExecute(), "ROLECALL_MOTO must be the path of moto_server");
        int port;
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        endpoint = "http://127.0.0.1:" + port;
        moto = new ProcessBuilder(program, "-H", "127.0.0.1", "-p", "" + port)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        for (int i = 0; i < 600; i++) {
            try (Socket socket = new Socket("127.0.0.1", port)) {
                return;
            } catch (java.io.IOException e) {
                Thread.sleep(100);
            }
        }
    }

    @AfterAll
    static void end() throws Exception {
        if (moto != null) {
            moto.destroyForcibly().waitFor();
        }
    }

    @Test
    @DisplayName("on the class path, the calls of both SDKs are told of, without what is secret")
    void classPath() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            run(agent, List.of("-cp", JAR + File.pathSeparator + sdk(),
                    "dev.rolecall.shim.App", endpoint));
            agent.one("Bye", null);
            Map<?, ?> put = agent.of("ApiCall", "PutObject").get(0);
            assertEquals("S3", put.get("Service"));
            assertEquals("127.0.0.1", put.get("Fqdn"));
            assertEquals("AKIAIOSFODNN7EXAMPLE", put.get("AccessKey"));
            assertEquals("eu-central-1", put.get("Region"));
            assertEquals(List.of("reports"), ((Map<?, ?>) put.get("Parameters")).get("Bucket"));
            Map<?, ?> get = agent.one("ApiCall", "GetItem");
            assertEquals("DynamoDB", get.get("Service"));
            assertEquals("ResourceNotFoundException", get.get("FinalAwsException"));
            assertEquals(List.of("nowhere"), ((Map<?, ?>) get.get("Parameters")).get("TableName"));
            assertEquals("SQS", agent.one("ApiCall", "SendMessage").get("Service"));
            assertEquals("STS", agent.one("ApiCall", "GetCallerIdentity").get("Service"));
            assertEquals("SQS", agent.one("ApiCall", "GetQueueUrl").get("Service"));
            assertEquals(List.of("orders"),
                    ((Map<?, ?>) agent.one("ApiCall", "GetQueueUrl").get("Parameters")).get("QueueName"));
            assertEquals("AKIAIOSFODNN7EXAMPLE", agent.one("ApiCall", "GetQueueUrl").get("AccessKey"));
            assertEquals(List.of("signed"), ((Map<?, ?>) agent.one("Presign", "GetObject").get("Parameters")).get("Key"));
            assertFalse(agent.lines.toString().contains("canary"));
            assertEquals(12, agent.calls());
        }
    }

    @Test
    @DisplayName("as an agent beside the SDK, it tells")
    void agentBeside() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            run(agent, List.of("-javaagent:" + JAR, "-cp", sdk(), "dev.rolecall.shim.App", endpoint, "short"));
            agent.one("ApiCall", "GetCallerIdentity");
        }
    }

    @Test
    @DisplayName("as an agent above the SDK's own class loader, it tells")
    void agentAbove() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            run(agent, List.of("-javaagent:" + JAR, "-cp", child(), "Child", sdk(), endpoint));
            agent.one("ApiCall", "GetCallerIdentity");
            agent.one("Bye", null);
        }
    }

    @Test
    @DisplayName("with classes missing from the jar, the client still works")
    void missingClasses() throws Exception {
        for (String missing : List.of("ReaderV2", "Shim", "Presigning", "Redact")) {
            String jar = without(missing);
            try (Agent agent = new Agent(folder.resolve("s"), true)) {
                run(agent, List.of("-cp", jar + File.pathSeparator + sdk(), "dev.rolecall.shim.App", endpoint, "short"));
                run(agent, List.of("-javaagent:" + jar, "-cp", child(), "Child", sdk(), endpoint));
            }
        }
    }

    @Test
    @DisplayName("ROLECALL_CALLS=off says nothing at all")
    void off() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            run(agent, List.of("-cp", JAR + File.pathSeparator + sdk(), "dev.rolecall.shim.App", endpoint, "short"),
                    "ROLECALL_CALLS", "off");
            assertTrue(agent.lines.isEmpty());
        }
    }

    private void run(Agent agent, List<String> arguments, String... more) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("rolecall.java", System.getProperty("java.home") + "/bin/java"));
        command.addAll(arguments);
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("ROLECALL_CALLS_SOCKET", agent.socket.toString());
        for (int i = 0; i < more.length; i += 2) {
            builder.environment().put(more[i], more[i + 1]);
        }
        File out = folder.resolve("out").toFile();
        Process process = builder.redirectOutput(out).start();
        try {
            assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        } finally {
            process.destroyForcibly();
        }
        assertTrue(Files.readString(out.toPath()).contains("works"), Files.readString(out.toPath()));
    }

    /** The test's class path without the shim itself: the SDKs and the application. */
    private String sdk() throws Exception {
        Path app = Files.createDirectories(folder.resolve("app/dev/rolecall/shim"));
        Files.copy(Path.of("target/test-classes/dev/rolecall/shim/App.class"), app.resolve("App.class"),
                java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        String jars = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(each -> each.endsWith(".jar") && !each.contains("surefire")).collect(Collectors.joining(File.pathSeparator));
        return folder.resolve("app") + File.pathSeparator + jars;
    }

    private String child() throws Exception {
        Path out = Files.createDirectories(folder.resolve("child"));
        Files.copy(Path.of("target/test-classes/Child.class"), out.resolve("Child.class"),
                java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        return out.toString();
    }

    private String without(String missing) throws Exception {
        Path out = folder.resolve("without-" + missing + ".jar");
        try (JarFile jar = new JarFile(JAR);
                JarOutputStream to = new JarOutputStream(Files.newOutputStream(out), jar.getManifest())) {
            for (var entry : java.util.Collections.list(jar.entries())) {
                if (!entry.getName().startsWith("META-INF") && !entry.getName().endsWith("/" + missing + ".class")) {
                    to.putNextEntry(new java.util.zip.ZipEntry(entry.getName()));
                    jar.getInputStream(entry).transferTo(to);
                }
            }
        }
        return out.toString();
    }
}
