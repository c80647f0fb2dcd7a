package dev.rolecall.shim;

import com.amazonaws.AmazonServiceException;
import com.amazonaws.Request;
import com.amazonaws.Response;
import com.amazonaws.handlers.HandlerContextKey;
import com.amazonaws.http.HttpResponse;
import com.amazonaws.util.VersionInfoUtils;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Reads a call of the AWS SDK for Java 1. May throw; {@link HookV1} catches it. */
final class ReaderV1 {
    private static final HandlerContextKey<Began> BEGAN = new HandlerContextKey<>("RolecallBegan");
    private static final Map<String, Parameters.Path> INPUTS = new ConcurrentHashMap<>();
    private static final ClassValue<Map<String, Method>> GETTERS = new ClassValue<Map<String, Method>>() {
        @Override
        protected Map<String, Method> computeValue(Class<?> type) {
            return getters(type);
        }
    };

    private ReaderV1() {}

    /** When a call began, and which of several hooks tells of it. */
    private static final class Began {
        final HookV1 owner;
        final long at = System.currentTimeMillis();
        final long nanos = System.nanoTime();
        boolean told;

        Began(HookV1 owner) {
            this.owner = owner;
        }
    }

    static void began(HookV1 hook, Request<?> request) {
        if (Shim.get().on() && request.getHandlerContext(BEGAN) == null) {
            request.addHandlerContext(BEGAN, new Began(hook));
        }
    }

    static void ended(HookV1 hook, Request<?> request, Response<?> response, Exception error) throws Exception {
        Shim shim = Shim.get();
        Began began = request.getHandlerContext(BEGAN);
        if (began == null && shim.on()) {
            began = new Began(hook);
            request.addHandlerContext(BEGAN, began);
        }
        if (began == null || began.owner != hook || began.told) {
            return;
        }
        began.told = true;
        if (shim.broken()) {
            shim.missed();
            return;
        }
        shim.hello("aws-sdk-java", VersionInfoUtils.getVersion());
        Call call = call(began, request);
        answered(call, response == null ? null : response.getHttpResponse());
        if (error != null) {
            failed(call, error);
        }
        shim.ended(call);
    }

    private static Call call(Began began, Request<?> request) throws Exception {
        Call call = new Call();
        call.began = began.at;
        call.latency = (System.nanoTime() - began.nanos) / 1_000_000;
        call.service = request.getHandlerContext(HandlerContextKey.SERVICE_ID);
        call.api = request.getHandlerContext(HandlerContextKey.OPERATION_NAME);
        call.region = request.getHandlerContext(HandlerContextKey.SIGNING_REGION);
        call.host = request.getEndpoint() == null ? null : request.getEndpoint().getHost();
        call.accessKey = AccessKey.of(request.getHeaders().get("Authorization"));
        String input = call.service + '.' + call.api;
        Parameters.Path root = INPUTS.get(input);
        if (root == null) {
            root = Parameters.Path.root(String.valueOf(call.service));
            INPUTS.put(input, root);
        }
        Parameters out = new Parameters();
        structure(out, root, request.getOriginalRequest());
        call.parameters(out);
        return call;
    }

    private static void answered(Call call, HttpResponse response) {
        if (response == null) {
            return;
        }
        call.status = response.getStatusCode();
        for (Map.Entry<String, String> header : response.getHeaders().entrySet()) {
            if ("x-amzn-RequestId".equalsIgnoreCase(header.getKey())) {
                call.requestId = header.getValue();
            } else if (call.requestId == null && "x-amz-request-id".equalsIgnoreCase(header.getKey())) {
                call.requestId = header.getValue();
                call.requestIdOfS3 = true;
            }
        }
    }

    private static void failed(Call call, Exception error) {
        if (!(error instanceof AmazonServiceException)) {
            call.exception = error.getClass().getSimpleName();
            return;
        }
        AmazonServiceException said = (AmazonServiceException) error;
        call.status = said.getStatusCode();
        call.code = said.getErrorCode();
        if (said.getRequestId() != null) {
            call.requestId = said.getRequestId();
        }
    }

    private static void structure(Parameters out, Parameters.Path path, Object bean) throws Exception {
        for (Map.Entry<String, Method> getter : GETTERS.get(bean.getClass()).entrySet()) {
            Parameters.Path member = path.member(getter.getKey());
            Object value = member == null ? null : value(bean, getter.getValue());
            if (value != null) {
                any(out, member, value);
            }
        }
    }

    private static Object value(Object bean, Method getter) throws IllegalAccessException {
        try {
            return getter.invoke(bean);
        } catch (InvocationTargetException e) {
            return null;
        }
    }

    private static void any(Parameters out, Parameters.Path path, Object value) throws Exception {
        if (path == null || !out.look()) {
            return;
        }
        if (Parameters.isPlain(value)) {
            out.add(path, value);
            return;
        }
        if (out.enter()) {
            if (value instanceof Collection) {
                for (Object item : (Collection<?>) value) {
                    any(out, path.items(), item);
                }
            } else if (value instanceof Map) {
                entries(out, path.entries(), (Map<?, ?>) value);
            } else if (value != null && ofTheModel(value.getClass())) {
                structure(out, path, value);
            }
        }
        out.leave();
    }

    private static void entries(Parameters out, Parameters.Path path, Map<?, ?> map) throws Exception {
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            any(out, path, entry.getKey());
            // A text in a map has no path of its own: this one is that of the keys.
            if (!Parameters.isPlain(entry.getValue())) {
                any(out, path, entry.getValue());
            }
        }
    }

    private static boolean ofTheModel(Class<?> type) {
        return type.getName().startsWith("com.amazonaws.services.") && type.getName().contains(".model.");
    }

    /** Name of the member → getter, of the model's own classes alone: a program's subclass has code of its own. */
    private static Map<String, Method> getters(Class<?> type) {
        Class<?> own = type;
        while (own != null && !ofTheModel(own)) {
            own = own.getSuperclass();
        }
        Map<String, Method> out = new LinkedHashMap<>();
        if (own == null || !Modifier.isPublic(own.getModifiers())) {
            return out;
        }
        for (Method method : own.getMethods()) {
            String name = method.getName();
            if (name.startsWith("get") && name.length() > 3 && method.getParameterCount() == 0
                    && ofTheModel(method.getDeclaringClass()) && isTold(method.getReturnType())) {
                String member = name.substring(3);
                // The one service whose names in this SDK are not those of its model.
                out.put(member.equals("BucketName") ? "Bucket" : member, method);
            }
        }
        return out;
    }

    private static boolean isTold(Class<?> type) {
        return type.isPrimitive() || type == String.class || type == Integer.class || type == Long.class
                || type == Boolean.class || type == Double.class || type == Float.class
                || Collection.class.isAssignableFrom(type) || Map.class.isAssignableFrom(type) || ofTheModel(type);
    }
}
