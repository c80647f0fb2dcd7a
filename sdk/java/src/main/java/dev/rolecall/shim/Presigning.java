package dev.rolecall.shim;

import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.signer.AwsSignerExecutionAttribute;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;

/** What the SDK for Java 2 says of a URL that it signs. In a class of its own, for the attributes may go one day. */
final class Presigning {
    private Presigning() {}

    @SuppressWarnings("deprecation")
    static boolean is(ExecutionAttributes attributes) {
        return attributes.getAttribute(AwsSignerExecutionAttribute.PRESIGNER_EXPIRATION) != null;
    }

    @SuppressWarnings("deprecation")
    static String accessKey(ExecutionAttributes attributes) {
        AwsCredentials credentials = attributes.getAttribute(AwsSignerExecutionAttribute.AWS_CREDENTIALS);
        return credentials == null ? null : credentials.accessKeyId();
    }
}
