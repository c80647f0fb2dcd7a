package dev.rolecall.shim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.handlers.RequestHandler2;
import com.amazonaws.services.sqs.AmazonSQS;
import com.amazonaws.services.sqs.AmazonSQSClientBuilder;
import com.amazonaws.services.sqs.model.AmazonSQSException;
import java.net.StandardProtocolFamily;
import java.net.URI;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbException;

/** Real clients in this process, which find the hooks on its class path, against a stub. */
class ClientTest {
    private static final StaticCredentialsProvider KEYS =
            StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIAIOSFODNN7EXAMPLE", "secret"));

    @TempDir
    Path folder;

    private Stub stub;

    @BeforeEach
    void server() throws Exception {
        stub = new Stub();
    }

    @AfterEach
    void end() {
        Faults.at = null;
        Shim.replace(new Shim(new Settings("off", null, null)));
        stub.close();
    }

    @Test
    void aFirstDenialIsOnTheSocketBeforeTheCallReturns() throws Exception {
        stub.status = 403;
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
                DynamoDbClient db = versionTwo()) {
            server.bind(UnixDomainSocketAddress.of(folder.resolve("s")));
            // Nothing flushes: what is on the socket after the call was sent within it.
            Shim.replace(new Shim(new Settings(null, folder.resolve("s").toString(), null)));
            assertEquals(403, assertThrows(DynamoDbException.class, () -> describe(db, 1)).statusCode());
            server.configureBlocking(false);
            try (SocketChannel stream = server.accept()) {
                stream.configureBlocking(false);
                ByteBuffer got = ByteBuffer.allocate(65_536);
                stream.read(got);
                String[] lines = new String(got.array(), 0, got.position(), StandardCharsets.UTF_8).split("\n");
                assertEquals("Hello", ((Map<?, ?>) Json.read(lines[0])).get("Type"));
                Map<?, ?> call = (Map<?, ?>) Json.read(lines[1]);
                assertEquals("DescribeTable", call.get("Api"));
                assertEquals(403.0, call.get("FinalHttpStatusCode"));
                assertEquals("AccessDeniedException", call.get("FinalAwsException"));
            }
        }
    }

    @Test
    void aHookThatIsListedTwiceTellsACallOnce() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true);
                DynamoDbClient two = versionTwo(new HookV2(), new HookV2())) {
            Shim shim = ShimTest.shim(agent.socket);
            Shim.replace(shim);
            AmazonSQS one = versionOne(new HookV1());
            describe(two, 1);
            one.getQueueUrl("q");
            stub.status = 403;
            assertThrows(DynamoDbException.class, () -> describe(two, 1));
            assertThrows(AmazonSQSException.class, () -> one.getQueueUrl("q"));
            ShimTest.finish(shim, agent);
            assertEquals(4, agent.calls());
            assertEquals(4, agent.of("ApiCall", null).size());
        }
    }

    @Test
    void anAsynchronousClientIsToldOf() throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true);
                DynamoDbAsyncClient db = DynamoDbAsyncClient.builder().endpointOverride(URI.create(stub.url()))
                        .region(Region.EU_CENTRAL_1).credentialsProvider(KEYS).build()) {
            Shim shim = ShimTest.shim(agent.socket);
            Shim.replace(shim);
            db.describeTable(r -> r.tableName("t")).join();
            stub.status = 403;
            assertThrows(CompletionException.class, () -> db.describeTable(r -> r.tableName("t")).join());
            ShimTest.finish(shim, agent);
            List<Map<?, ?>> told = agent.of("ApiCall", "DescribeTable");
            assertEquals(2, told.size());
            assertEquals(200.0, told.get(0).get("FinalHttpStatusCode"));
            assertEquals("AccessDeniedException", told.get(1).get("FinalAwsException"));
            assertEquals(2, agent.calls());
        }
    }

    @Test
    void aFailureInAnyPlaceLeavesTheAnswerOfVersionTwoAndTenSwitchOff() throws Exception {
        try (DynamoDbClient db = versionTwo()) {
            for (String place : List.of("beforeExecution", "afterMarshalling", "afterExecution", "call", "parameters",
                    "redact", "fold", "line", "sender")) {
                stub.status = 200;
                failing(place, i -> assertEquals("R1", describe(db, i)));
            }
            stub.status = 403;
            failing("onExecutionFailure",
                    i -> assertEquals(403, assertThrows(DynamoDbException.class, () -> describe(db, i)).statusCode()));
        }
    }

    @Test
    void aFailureInAnyPlaceLeavesTheAnswerOfVersionOneAndTenSwitchOff() throws Exception {
        AmazonSQS sqs = versionOne();
        for (String place : List.of("beforeRequest", "afterResponse", "call", "parameters", "redact", "fold", "line", "sender")) {
            stub.status = 200;
            failing(place, i -> assertEquals("http://queue", sqs.getQueueUrl("q" + i).getQueueUrl()));
        }
        stub.status = 403;
        failing("afterError", i -> assertEquals(403,
                assertThrows(AmazonSQSException.class, () -> sqs.getQueueUrl("q" + i)).getStatusCode()));
    }

    private interface Calling {
        void call(int i) throws Exception;
    }

    /** Makes twelve calls while a place fails; each is told of or counted as lost, the last as of a shim that is off. */
    private void failing(String place, Calling calling) throws Exception {
        try (Agent agent = new Agent(folder.resolve("s"), true)) {
            Shim shim = ShimTest.shim(agent.socket);
            Shim.replace(shim);
            Faults.at = at -> {
                if (at.equals(place)) {
                    throw new LinkageError("injected");
                }
            };
            for (int i = 0; i < 12; i++) {
                calling.call(i);
            }
            Faults.at = null;
            assertTrue(shim.broken(), place);
            ShimTest.finish(shim, agent);
            assertEquals(12, agent.calls(), place + agent.lines);
            assertTrue(agent.lost("off") >= 2, place + agent.lines);
        }
    }

    private static String describe(DynamoDbClient db, int i) {
        return db.describeTable(r -> r.tableName("table" + i)).responseMetadata().requestId();
    }

    private DynamoDbClient versionTwo(ExecutionInterceptor... more) {
        return DynamoDbClient.builder().endpointOverride(URI.create(stub.url())).region(Region.EU_CENTRAL_1)
                .credentialsProvider(KEYS).httpClient(UrlConnectionHttpClient.create())
                .overrideConfiguration(c -> List.of(more).forEach(c::addExecutionInterceptor)).build();
    }

    private AmazonSQS versionOne(RequestHandler2... more) {
        return AmazonSQSClientBuilder.standard()
                .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials("AKIAIOSFODNN7EXAMPLE", "x")))
                .withEndpointConfiguration(new EndpointConfiguration(stub.url(), "eu-central-1"))
                .withRequestHandlers(more).build();
    }
}
