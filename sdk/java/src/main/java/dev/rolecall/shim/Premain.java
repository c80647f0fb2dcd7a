package dev.rolecall.shim;

import java.lang.instrument.Instrumentation;

/**
 * {@code -javaagent:rolecall-shim.jar}. The jar is then on the system's class path; where the SDK is there as well, that
 * is all. An SDK in a class loader below (an executable jar, a web application) finds our resource in the one above, and
 * would find classes there that cannot see the SDK: {@link Placing} puts them where the SDK is.
 */
public final class Premain {
    private Premain() {}

    /** For the virtual machine. */
    public static void premain(String arguments, Instrumentation instrumentation) {
        try {
            instrumentation.addTransformer(new Placing(instrumentation));
        } catch (Throwable e) {
            // The application starts without us.
        }
    }
}
