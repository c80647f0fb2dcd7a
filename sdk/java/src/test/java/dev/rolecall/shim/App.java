package dev.rolecall.shim;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.sqs.AmazonSQSClientBuilder;
import java.net.URI;
import java.time.Duration;
import java.util.Map;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbException;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sts.StsClient;

/** The application of the tests, which knows of no shim; it runs in a process of its own. */
public final class App {
    private static String endpoint;

    public static void main(String[] arguments) {
        endpoint = arguments[0];
        sts();
        if (arguments.length > 1) {
            System.out.println("works");
            return;
        }
        s3();
        dynamo();
        try (SqsClient sqs = aimed(SqsClient.builder()).build()) {
            String queue = sqs.createQueue(r -> r.queueName("orders")).queueUrl();
            sqs.sendMessage(r -> r.queueUrl(queue).messageBody("canary-body"));
        }
        versionOne();
        System.out.println("works");
    }

    private static void sts() {
        try (StsClient sts = aimed(StsClient.builder()).build()) {
            sts.getCallerIdentity();
        }
    }

    private static void s3() {
        try (S3Client s3 = aimed(S3Client.builder()).forcePathStyle(true).build()) {
            s3.createBucket(r -> r.bucket("reports"));
            for (int i = 0; i < 5; i++) {
                s3.putObject(r -> r.bucket("reports").key("a/b").metadata(Map.of("k", "canary-meta")),
                        RequestBody.fromString("canary-content"));
            }
            s3.listObjectsV2Paginator(r -> r.bucket("reports")).contents().forEach(o -> {});
        }
        try (S3Presigner signer = S3Presigner.builder().region(Region.EU_CENTRAL_1).credentialsProvider(keys())
                .endpointOverride(URI.create(endpoint))
                .serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build()) {
            signer.presignGetObject(r -> r.signatureDuration(Duration.ofMinutes(1))
                    .getObjectRequest(g -> g.bucket("reports").key("signed")));
        }
    }

    private static void dynamo() {
        try (DynamoDbClient db = aimed(DynamoDbClient.builder()).build()) {
            db.getItem(r -> r.tableName("nowhere").key(Map.of("id", AttributeValue.fromS("canary-key"))));
        } catch (DynamoDbException e) {
            if (e.statusCode() != 400) {
                throw e;
            }
        }
    }

    private static void versionOne() {
        AmazonSQSClientBuilder.standard()
                .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials("AKIAIOSFODNN7EXAMPLE", "x")))
                .withEndpointConfiguration(new EndpointConfiguration(endpoint, "eu-central-1")).build()
                .getQueueUrl("orders");
    }

    private static <B extends AwsClientBuilder<B, ?>> B aimed(B builder) {
        return builder.endpointOverride(URI.create(endpoint)).region(Region.EU_CENTRAL_1).credentialsProvider(keys());
    }

    private static StaticCredentialsProvider keys() {
        return StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIAIOSFODNN7EXAMPLE", "secret"));
    }
}
