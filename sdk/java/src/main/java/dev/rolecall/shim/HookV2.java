package dev.rolecall.shim;

import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;

/**
 * What the AWS SDK for Java 2 finds on its class path and calls. Nothing in here can fail: an exception would be the
 * application's, and without {@link ReaderV2} and all that it needs the application still works.
 */
public final class HookV2 implements ExecutionInterceptor {
    /** For the SDK. */
    public HookV2() {}

    @Override
    public void beforeExecution(Context.BeforeExecution context, ExecutionAttributes attributes) {
        try {
            Faults.pass("beforeExecution");
            ReaderV2.began(this, attributes);
        } catch (Throwable e) {
            mistake(0);
        }
    }

    @Override
    public void afterMarshalling(Context.AfterMarshalling context, ExecutionAttributes attributes) {
        try {
            Faults.pass("afterMarshalling");
            ReaderV2.presigned(this, context, attributes);
        } catch (Throwable e) {
            mistake(0);
        }
    }

    @Override
    public void afterExecution(Context.AfterExecution context, ExecutionAttributes attributes) {
        try {
            Faults.pass("afterExecution");
            ReaderV2.done(this, context, attributes);
        } catch (Throwable e) {
            mistake(1);
        }
    }

    @Override
    public void onExecutionFailure(Context.FailedExecution context, ExecutionAttributes attributes) {
        try {
            Faults.pass("onExecutionFailure");
            ReaderV2.failed(this, context, attributes);
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
