package dev.rolecall.shim;

import java.io.File;

/** Where to send, how often, and whether at all. */
final class Settings {
    private static final String DEFAULT_SOCKET = "/run/rolecall/calls.sock";

    final boolean on;
    final String socket;
    final long flushMs;
    /** While this file is there, the shim is off. */
    final File off;

    Settings(String calls, String socket, String flush) {
        this.on = calls == null || !calls.trim().equalsIgnoreCase("off");
        this.socket = socket == null || socket.isEmpty() ? DEFAULT_SOCKET : socket;
        this.flushMs = Math.max(100, Math.min(60_000, number(flush, 10_000)));
        String beside = this.socket.startsWith("tcp://") ? DEFAULT_SOCKET : this.socket;
        this.off = new File(new File(beside).getAbsoluteFile().getParentFile(), "calls.off");
    }

    static Settings fromEnvironment() {
        return new Settings(System.getenv("ROLECALL_CALLS"), System.getenv("ROLECALL_CALLS_SOCKET"),
                System.getenv("ROLECALL_CALLS_FLUSH_MS"));
    }

    private static long number(String text, long otherwise) {
        try {
            return text == null ? otherwise : Long.parseLong(text.trim());
        } catch (NumberFormatException e) {
            return otherwise;
        }
    }
}
