package dev.rolecall.shim;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import software.amazon.awssdk.awscore.AwsExecutionAttribute;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.SdkRequest;
import software.amazon.awssdk.core.exception.SdkServiceException;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttribute;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.SdkExecutionAttribute;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.http.SdkHttpResponse;
import software.amazon.awssdk.regions.Region;

/** Reads a call of the AWS SDK for Java 2. May throw; {@link HookV2} catches it. */
final class ReaderV2 {
    // Names of attributes must differ in the whole SDK; a second copy of the shim has another name.
    private static final ExecutionAttribute<Began> BEGAN =
            new ExecutionAttribute<>("RolecallBegan" + System.identityHashCode(ReaderV2.class));
    private static final Map<String, Parameters.Path> INPUTS = new ConcurrentHashMap<>();

    private ReaderV2() {}

    /** When a call began, and which of several hooks tells of it: the resource may be on the class path twice. */
    private static final class Began {
        final HookV2 owner;
        final long at = System.currentTimeMillis();
        final long nanos = System.nanoTime();
        boolean told;

        Began(HookV2 owner) {
            this.owner = owner;
        }
    }

    static void began(HookV2 hook, ExecutionAttributes attributes) {
        if (Shim.get().on() && attributes.getAttribute(BEGAN) == null) {
            attributes.putAttribute(BEGAN, new Began(hook));
        }
    }

    static void done(HookV2 hook, Context.AfterExecution context, ExecutionAttributes attributes) {
        Began began = mine(hook, attributes);
        if (began != null) {
            Call call = call(began, context.request(), context.httpRequest(), attributes);
            answered(call, context.httpResponse());
            Shim.get().ended(call);
        }
    }

    static void failed(HookV2 hook, Context.FailedExecution context, ExecutionAttributes attributes) {
        Began began = mine(hook, attributes);
        if (began == null) {
            return;
        }
        Call call = call(began, context.request(), context.httpRequest().orElse(null), attributes);
        context.httpResponse().ifPresent(response -> answered(call, response));
        Throwable error = context.exception();
        if (error instanceof SdkServiceException) {
            serviceSaid(call, (SdkServiceException) error);
        } else {
            call.exception = error == null ? "unknown" : error.getClass().getSimpleName();
        }
        Shim.get().ended(call);
    }

    /** A URL that is signed for later runs through the hooks as well, up to here, and is sent by nobody. */
    static void presigned(HookV2 hook, Context.AfterMarshalling context, ExecutionAttributes attributes) {
        Began began = attributes.getAttribute(BEGAN);
        if (began != null && began.owner == hook && !began.told && Presigning.is(attributes)) {
            began.told = true;
            Call call = call(began, context.request(), context.httpRequest(), attributes);
            call.type = "Presign";
            call.accessKey = Presigning.accessKey(attributes);
            Shim.get().ended(call);
        }
    }

    private static Began mine(HookV2 hook, ExecutionAttributes attributes) {
        Shim shim = Shim.get();
        Began began = attributes.getAttribute(BEGAN);
        if (began == null && shim.on()) {
            began = new Began(hook);
            attributes.putAttribute(BEGAN, began);
        }
        if (began == null || began.owner != hook || began.told) {
            return null;
        }
        began.told = true;
        if (shim.broken()) {
            shim.missed();
            return null;
        }
        return began;
    }

    private static Call call(Began began, SdkRequest request, SdkHttpRequest http, ExecutionAttributes attributes) {
        Call call = new Call();
        call.began = began.at;
        call.latency = (System.nanoTime() - began.nanos) / 1_000_000;
        call.service = attributes.getAttribute(SdkExecutionAttribute.SERVICE_NAME);
        call.api = attributes.getAttribute(SdkExecutionAttribute.OPERATION_NAME);
        Region region = attributes.getAttribute(AwsExecutionAttribute.AWS_REGION);
        call.region = region == null ? null : region.id();
        String agent = null;
        if (http != null) {
            agent = http.firstMatchingHeader("User-Agent").orElse(null);
            call.host = http.host();
            call.accessKey = AccessKey.of(http.firstMatchingHeader("Authorization").orElse(null));
        }
        call.service = ServiceId.of(call.service, agent);
        Shim.get().hello("aws-sdk-java", ServiceId.sdkVersion(agent));
        if (request != null) {
            call.parameters(parameters(call, request));
        }
        return call;
    }

    private static void answered(Call call, SdkHttpResponse response) {
        if (response == null) {
            return;
        }
        call.status = response.statusCode();
        Optional<String> id = response.firstMatchingHeader("x-amzn-RequestId");
        call.requestIdOfS3 = !id.isPresent();
        call.requestId = id.isPresent() ? id.get() : response.firstMatchingHeader("x-amz-request-id").orElse(null);
    }

    private static void serviceSaid(Call call, SdkServiceException error) {
        call.status = error.statusCode();
        if (error.requestId() != null) {
            call.requestId = error.requestId();
        }
        if (error instanceof AwsServiceException && ((AwsServiceException) error).awsErrorDetails() != null) {
            call.code = ((AwsServiceException) error).awsErrorDetails().errorCode();
        }
    }

    private static Parameters parameters(Call call, SdkRequest request) {
        String input = call.service + '.' + call.api;
        Parameters.Path root = INPUTS.get(input);
        if (root == null) {
            root = Parameters.Path.root(call.service);
            INPUTS.put(input, root);
        }
        Parameters out = new Parameters();
        structure(out, root, request);
        return out;
    }

    private static void structure(Parameters out, Parameters.Path path, SdkPojo pojo) {
        for (SdkField<?> field : pojo.sdkFields()) {
            Object value = field.getValueOrDefault(pojo);
            if (value != null) {
                any(out, path.member(name(field)), value);
            }
        }
    }

    private static void any(Parameters out, Parameters.Path path, Object value) {
        if (path == null || !out.look()) {
            return;
        }
        if (Parameters.isPlain(value)) {
            out.add(path, value);
            return;
        }
        if (out.enter()) {
            if (value instanceof SdkPojo) {
                structure(out, path, (SdkPojo) value);
            } else if (value instanceof List) {
                items(out, path.items(), (List<?>) value);
            } else if (value instanceof Map) {
                entries(out, path.entries(), (Map<?, ?>) value);
            }
        }
        out.leave();
    }

    private static void items(Parameters out, Parameters.Path path, List<?> list) {
        for (Object item : list) {
            any(out, path, item);
        }
    }

    private static void entries(Parameters out, Parameters.Path path, Map<?, ?> map) {
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            any(out, path, entry.getKey());
            // A text in a map has no path of its own: this one is that of the keys.
            if (!Parameters.isPlain(entry.getValue())) {
                any(out, path, entry.getValue());
            }
        }
    }

    private static String name(SdkField<?> field) {
        try {
            String name = field.memberName();
            return name != null ? name : field.locationName();
        } catch (NoSuchMethodError e) {
            // The first releases of version 2 do not have it.
            return field.locationName();
        }
    }
}
