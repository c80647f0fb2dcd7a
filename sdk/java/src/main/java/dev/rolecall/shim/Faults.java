package dev.rolecall.shim;

import java.util.function.Consumer;

/** Where tests make the shim fail: each hook and each part passes here. Outside of tests nobody sets it. */
public final class Faults {
    static volatile Consumer<String> at;

    private Faults() {}

    /** A place that may be made to fail; public, as the hooks may be in another class loader. */
    public static void pass(String place) {
        Consumer<String> now = at;
        if (now != null) {
            now.accept(place);
        }
    }
}
