package dev.rolecall.shim;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** What one call was. Equal are those that differ in nothing but their time and their request id. */
public final class Call {
    /** {@code ApiCall} or {@code Presign}. */
    public String type = "ApiCall";
    /** The id of the service's model, such as {@code DynamoDB}. */
    public String service;
    /** The operation's name in the model. */
    public String api;
    /** The region that was called, or null. */
    public String region;
    /** The host that was called, or null. */
    public String host;
    /** The id of the access key, never the secret; or null. */
    public String accessKey;
    /** The last status; 0 when nobody answered. */
    public int status;
    /** The service's error code, or null. */
    public String code;
    /** The class of the SDK's exception, if it was no service's; or null. */
    public String exception;
    /** When it began, in ms since 1970. */
    public long began;
    /** How long it took, in ms. */
    public long latency;
    /** The request's id, or null. */
    public String requestId;
    /** Whether S3 gave the request's id, under a name of its own. */
    public boolean requestIdOfS3;

    Map<String, List<String>> parameters = Collections.emptyMap();

    /** Sets what the call was about. */
    public void parameters(Parameters read) {
        parameters = read.found();
    }

    boolean denied() {
        return type.equals("ApiCall") && Outcome.of(status, code != null ? code : exception).equals("denied");
    }

    /** Whether it can be told of at all. */
    boolean whole() {
        return fits(service, 128) && fits(api, 128);
    }

    private static boolean fits(String text, int most) {
        return text != null && !text.isEmpty() && text.length() <= most;
    }

    @Override
    public boolean equals(Object other) {
        if (!(other instanceof Call)) {
            return false;
        }
        Call that = (Call) other;
        return status == that.status && type.equals(that.type) && service.equals(that.service) && api.equals(that.api)
                && Objects.equals(region, that.region) && Objects.equals(host, that.host)
                && Objects.equals(accessKey, that.accessKey) && Objects.equals(code, that.code)
                && Objects.equals(exception, that.exception) && parameters.equals(that.parameters);
    }

    @Override
    public int hashCode() {
        int hash = service.hashCode() * 31 + api.hashCode();
        return (hash * 31 + status) * 31 + parameters.hashCode();
    }
}
