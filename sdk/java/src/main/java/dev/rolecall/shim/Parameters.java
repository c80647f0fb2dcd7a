package dev.rolecall.shim;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Path → values of one input, bounded. The hooks walk the input; here is decided what is kept of it. */
public final class Parameters {
    private static final int PATHS = 64;
    private static final int VALUES = 16;
    private static final int PATH_BYTES = 256;
    private static final int VALUE_BYTES = 2048;
    /** Of one input, no more members, items and entries than these are looked at. */
    private static final int LOOKS = 1024;
    private static final int DEPTH = 16;
    /** Of all inputs together, no more paths than these are kept: shapes that hold themselves have no end of them. */
    private static final int NODES = 65_536;
    private static final AtomicInteger NODES_MADE = new AtomicInteger();

    private final Map<String, List<String>> found = new TreeMap<>();
    private int looks = LOOKS;
    private int depth;

    /** Whether one more member, item or entry may be looked at. */
    public boolean look() {
        return --looks >= 0;
    }

    /** Whether one more level may be entered; {@link #leave} ends it. */
    public boolean enter() {
        return depth++ < DEPTH;
    }

    /** Ends what {@link #enter} began. */
    public void leave() {
        depth--;
    }

    /** Whether a value is a text, number or boolean: nothing else is ever looked at. */
    public static boolean isPlain(Object value) {
        return value instanceof String || value instanceof Integer || value instanceof Long || value instanceof Boolean
                || value instanceof Double || value instanceof Float || value instanceof Short;
    }

    /** A plain value at its path. */
    public void add(Path path, Object value) {
        Faults.pass("parameters");
        if (path.verdict == null || !isPlain(value)) {
            return;
        }
        String text = path.verdict.equals(Redact.TOLD) ? bounded(value.toString()) : path.verdict;
        List<String> values = found.get(path.text);
        if (text == null || (values == null && found.size() >= PATHS)) {
            return;
        }
        if (values == null) {
            values = new ArrayList<>(2);
            found.put(path.text, values);
        }
        if (values.size() < VALUES && !values.contains(text)) {
            values.add(text);
        }
    }

    /** What was found, in the order of paths. */
    Map<String, List<String>> found() {
        return new LinkedHashMap<>(found);
    }

    private static String bounded(String text) {
        String kind = Redact.byForm(text);
        if (kind != null) {
            return Redact.marker(kind);
        }
        return tooLong(text, VALUE_BYTES) ? null : text;
    }

    private static boolean tooLong(String text, int most) {
        return text.length() * 3 > most && text.getBytes(StandardCharsets.UTF_8).length > most;
    }

    /** A place in the inputs of one operation, and what to do with a value there: decided once, then looked up. */
    public static final class Path {
        private final String service;
        private final String text;
        private final String verdict;
        private final Map<String, Path> next = new ConcurrentHashMap<>();

        /** The input of an operation of this service as a whole. */
        public static Path root(String service) {
            return new Path(service, "");
        }

        private Path(String service, String text) {
            this.service = service;
            this.text = text;
            boolean none = text.isEmpty() || tooLong(text, PATH_BYTES);
            this.verdict = none ? null : Redact.verdict(service, text, false);
        }

        /** A member of the structure that is here; null when there are too many paths already. */
        public Path member(String name) {
            Path known = next.get(name);
            return known != null ? known : made(name, text.isEmpty() ? name : text + "." + name);
        }

        /** Each item of the list that is here. */
        public Path items() {
            Path known = next.get("[]");
            return known != null ? known : made("[]", text + "[]");
        }

        /** The keys of the map that is here; what is in its values follows behind the same path. */
        public Path entries() {
            Path known = next.get("{}");
            return known != null ? known : made("{}", text + "{}");
        }

        private Path made(String step, String path) {
            if (NODES_MADE.incrementAndGet() > NODES) {
                return null;
            }
            Path made = new Path(service, path);
            next.put(step, made);
            return made;
        }
    }
}
