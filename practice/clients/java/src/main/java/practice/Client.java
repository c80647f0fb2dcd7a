package practice;

import java.util.HashMap;
import java.util.Map;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.services.sts.model.GetCallerIdentityResponse;

/**
 * Asks who it is and, where BUCKET is set, writes and reads one object. The credentials come from
 * the SDK's own default chain: nothing here says where they are.
 */
public final class Client {
    private static final String OBJECT = "practice/java.txt";

    private Client() {}

    public static void main(String[] arguments) {
        try {
            run(options(arguments));
        } catch (Exception error) {
            System.err.println(error.getClass().getSimpleName() + ": " + error.getMessage());
            System.exit(1);
        }
    }

    private static void run(Map<String, Long> options) throws InterruptedException {
        String bucket = System.getenv("BUCKET");
        boolean storing = bucket != null && !bucket.isEmpty();
        try (DefaultCredentialsProvider credentials = DefaultCredentialsProvider.builder().build();
                StsClient sts = StsClient.builder().credentialsProvider(credentials).build();
                S3Client s3 = storing ? S3Client.builder().credentialsProvider(credentials).build() : null) {
            for (long left = options.get("--repeat"); left > 0; left--) {
                ask(credentials, sts, s3, bucket);
                if (left > 1) {
                    Thread.sleep(options.get("--every"));
                }
            }
        }
    }

    private static void ask(AwsCredentialsProvider credentials, StsClient sts, S3Client s3, String bucket) {
        GetCallerIdentityResponse caller = sts.getCallerIdentity();
        if (s3 != null) {
            s3.putObject(request -> request.bucket(bucket).key(OBJECT), RequestBody.fromString(caller.arn()));
            String text = s3.getObjectAsBytes(request -> request.bucket(bucket).key(OBJECT)).asUtf8String();
            if (!text.equals(caller.arn())) {
                throw new IllegalStateException("`" + OBJECT + "` in `" + bucket + "` is not what was written");
            }
        }
        System.out.println("{\"client\":\"java\""
                + member("account", caller.account())
                + member("arn", caller.arn())
                + member("access_key_id", credentials.resolveCredentials().accessKeyId())
                + member("bucket", s3 == null ? null : bucket)
                + member("object", s3 == null ? null : OBJECT)
                + "}");
        System.out.flush();
    }

    /** None of the values can hold a character that JSON would want escaped, but a backslash costs nothing. */
    private static String member(String name, String value) {
        if (value == null) {
            return ",\"" + name + "\":null";
        }
        return ",\"" + name + "\":\"" + value.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }

    private static Map<String, Long> options(String[] arguments) {
        Map<String, Long> options = new HashMap<>(Map.of("--repeat", 1L, "--every", 0L));
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            if (options.replace(arguments[at], Long.parseLong(arguments[at + 1])) == null) {
                throw new IllegalArgumentException("unknown option `" + arguments[at] + "`");
            }
        }
        return options;
    }
}
