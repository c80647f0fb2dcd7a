package dev.rolecall.shim;

import java.io.File;
import java.util.concurrent.atomic.AtomicInteger;

/** The one of this process: switches, the thread that flushes, the last words. Nothing here throws. */
public final class Shim {
    static final String VERSION = "0.1.0";
    private static final int ERRORS_MAX = 10;
    private static final long GOODBYE_MS = 180;

    private static volatile Shim current;

    private final Settings settings;
    private final Fold fold;
    private final AtomicInteger errors = new AtomicInteger();
    private volatile boolean silenced;
    private volatile boolean greeted;
    private volatile boolean ended;

    Shim(Settings settings) {
        this.settings = settings;
        this.fold = new Fold(new Sender(settings.socket), () -> mistake(0));
        this.silenced = settings.on && settings.off.exists();
    }

    /** That of this process, started by the first who asks. */
    public static Shim get() {
        Shim shim = current;
        return shim != null ? shim : first();
    }

    private static synchronized Shim first() {
        if (current == null) {
            Shim shim = new Shim(Settings.fromEnvironment());
            shim.start();
            current = shim;
        }
        return current;
    }

    static synchronized void replace(Shim shim) {
        current = shim;
    }

    /** Whether calls are told of at all; the hooks look at nothing otherwise. */
    public boolean on() {
        return settings.on && !silenced;
    }

    /** Whether mistakes have switched it off; calls are then lost, and counted as such. */
    public boolean broken() {
        return errors.get() >= ERRORS_MAX;
    }

    /** Says which SDK speaks; the first word counts. */
    public void hello(String sdk, String version) {
        if (!greeted) {
            greeted = true;
            fold.hello(Line.hello(sdk, version == null || version.isEmpty() ? "unknown" : version, VERSION, pid()));
        }
    }

    /** A call has ended. */
    public void ended(Call call) {
        if (!on()) {
            return;
        }
        if (broken()) {
            fold.lose("off", 1);
            return;
        }
        Faults.pass("call");
        if (!call.whole()) {
            throw new IllegalArgumentException("a call without a name");
        }
        fold.add(call);
    }

    /** A mistake of our own; {@code calls} of them are lost by it. With the tenth, all that nobody was told of is lost. */
    public void mistake(int calls) {
        if (!on()) {
            return;
        }
        int now = errors.incrementAndGet();
        if (calls > 0) {
            fold.lose(now > ERRORS_MAX ? "off" : "error", calls);
        }
        if (now == ERRORS_MAX) {
            fold.lose("off", fold.forget());
        }
    }

    /** A call that nobody looked at, for there were too many mistakes. */
    public void missed() {
        fold.lose("off", 1);
    }

    void start() {
        if (!settings.on) {
            return;
        }
        Thread thread = new Thread(null, this::run, "rolecall-shim", 128 * 1024);
        thread.setDaemon(true);
        // The class loader of whoever called first must not be held by our thread.
        thread.setContextClassLoader(null);
        thread.start();
        Runtime.getRuntime().addShutdownHook(new Thread(null, this::goodbye, "rolecall-shim-bye", 128 * 1024));
    }

    private void run() {
        while (!ended) {
            try {
                Thread.sleep(settings.flushMs);
                Faults.pass("flush");
                flush();
            } catch (InterruptedException e) {
                return;
            } catch (Throwable e) {
                mistake(0);
            }
        }
    }

    /** Once in each flush: looks at the switch, then tells of counts and losses. True when nothing is left. */
    boolean flush() {
        boolean was = silenced;
        silenced = settings.off.exists();
        if (silenced) {
            if (!was) {
                fold.clear();
            }
            return true;
        }
        return fold.flush();
    }

    /** What is counted is sent, as far as that goes within a moment; then the last word. */
    void goodbye() {
        try {
            ended = true;
            silenced = settings.off.exists();
            long end = System.nanoTime() + GOODBYE_MS * 1_000_000;
            boolean said = false;
            // Twice: the first time may do no more than find out that the stream is dead.
            int tries = 2;
            fold.tryAgain();
            while (on()) {
                try {
                    said = said || (fold.flush() && fold.bye());
                    if (said && fold.drain()) {
                        return;
                    }
                } catch (Throwable e) {
                    mistake(0);
                }
                if (System.nanoTime() >= end || (!fold.reached() && --tries == 0)) {
                    return;
                }
                if (!fold.reached()) {
                    fold.tryAgain();
                }
                Thread.sleep(2);
            }
        } catch (Throwable e) {
            // There is nobody left to tell.
        }
    }

    int rows() {
        return fold.size();
    }

    private static long pid() {
        try {
            return Long.parseLong(new File("/proc/self").getCanonicalFile().getName());
        } catch (Exception e) {
            return 0;
        }
    }
}
