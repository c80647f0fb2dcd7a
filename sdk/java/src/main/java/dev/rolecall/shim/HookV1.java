package dev.rolecall.shim;

import com.amazonaws.Request;
import com.amazonaws.Response;
import com.amazonaws.handlers.RequestHandler2;

/** What the AWS SDK for Java 1 finds on its class path and calls. As {@link HookV2}: nothing in here can fail. */
public final class HookV1 extends RequestHandler2 {
    /** For the SDK. */
    public HookV1() {}

    @Override
    public void beforeRequest(Request<?> request) {
        try {
            Faults.pass("beforeRequest");
            ReaderV1.began(this, request);
        } catch (Throwable e) {
            mistake(0);
        }
    }

    @Override
    public void afterResponse(Request<?> request, Response<?> response) {
        try {
            Faults.pass("afterResponse");
            ReaderV1.ended(this, request, response, null);
        } catch (Throwable e) {
            mistake(1);
        }
    }

    @Override
    public void afterError(Request<?> request, Response<?> response, Exception error) {
        try {
            Faults.pass("afterError");
            ReaderV1.ended(this, request, response, error);
        } catch (Throwable e) {
            mistake(1);
        }
    }

    private static void mistake(int calls) {
        try {
            Shim.get().mistake(calls);
        } catch (Throwable e) {
            // Not even the rest of the shim is there.
        }
    }
}
