package dev.rolecall.shim;

import java.io.ByteArrayInputStream;
import java.lang.management.ManagementFactory;
import java.net.URI;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.AbortableInputStream;
import software.amazon.awssdk.http.ExecutableHttpRequest;
import software.amazon.awssdk.http.HttpExecuteRequest;
import software.amazon.awssdk.http.HttpExecuteResponse;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.SdkHttpResponse;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;

/** CPU time of the calling thread for each call without a network. Run with and without the jar on the class path. */
public final class Bench {
    public static void main(String[] arguments) {
        try (DynamoDbClient db = DynamoDbClient.builder().region(Region.EU_CENTRAL_1).httpClient(new Stub())
                .endpointOverride(URI.create("http://127.0.0.1:1"))
                .credentialsProvider(StaticCredentialsProvider.create(
                        AwsBasicCredentials.create("AKIAIOSFODNN7EXAMPLE", "x"))).build()) {
            run(db, 20_000, false);
            System.out.printf("repeat %.2f us%n", run(db, 20_000, false));
            System.out.printf("new %.2f us%n", run(db, 20_000, true));
        }
    }

    private static double run(DynamoDbClient db, int calls, boolean fresh) {
        var threads = ManagementFactory.getThreadMXBean();
        long start = threads.getCurrentThreadCpuTime();
        for (int i = 0; i < calls; i++) {
            String table = fresh ? "table" + i : "table";
            db.describeTable(r -> r.tableName(table));
        }
        return (threads.getCurrentThreadCpuTime() - start) / 1000.0 / calls;
    }

    private static final class Stub implements SdkHttpClient {
        @Override
        public ExecutableHttpRequest prepareRequest(HttpExecuteRequest request) {
            return new ExecutableHttpRequest() {
                @Override
                public HttpExecuteResponse call() {
                    return HttpExecuteResponse.builder()
                            .response(SdkHttpResponse.builder().statusCode(200).putHeader("x-amzn-RequestId", "R").build())
                            .responseBody(AbortableInputStream.create(new ByteArrayInputStream(new byte[] {'{', '}'})))
                            .build();
                }

                @Override
                public void abort() {}
            };
        }

        @Override
        public void close() {}
    }
}
