package dev.rolecall.shim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** The table of different calls: the first is told of at once, equal ones are counted and told of later. */
final class Fold {
    private static final int ROWS = 4_096;
    private static final long COUNT_MAX = 1_000_000_000;

    private final Map<Call, Row> rows = new HashMap<>();
    /** Rows with calls that nobody was told of, in the order in which they came to owe them. */
    private final Map<Call, Row> waiting = new LinkedHashMap<>();
    /** Rows that owe nothing; the eldest makes room. */
    private final Map<Call, Row> idle = new LinkedHashMap<>();
    private final Map<String, Long> lost = new TreeMap<>();
    private final Sender sender;
    private final Runnable mistake;

    /** {@code mistake} is told of our own, whose calls are settled already. */
    Fold(Sender sender, Runnable mistake) {
        this.sender = sender;
        this.mistake = mistake;
    }

    /** Counts a call, and tells of it at once if it is the first of its kind, or a denial that nobody was told of. */
    synchronized void add(Call call) {
        Faults.pass("fold");
        Row row = rows.get(call);
        if (row == null) {
            addNew(call);
            return;
        }
        if (row.count == 0) {
            idle.remove(row.call);
            waiting.put(row.call, row);
        }
        row.count(call);
        if (row.count >= COUNT_MAX || (!row.told && denied(call))) {
            tell(row);
        }
    }

    private void addNew(Call call) {
        Row row = new Row(call);
        row.count(call);
        boolean settled = tell(row);
        if (!keep(row) && !settled) {
            lose("full", 1);
        }
    }

    /** Takes a row in, in the place of the eldest that owes nothing. False when there is none. */
    private boolean keep(Row row) {
        if (rows.size() >= ROWS) {
            Iterator<Row> eldest = idle.values().iterator();
            if (!eldest.hasNext()) {
                return false;
            }
            rows.remove(eldest.next().call);
            eldest.remove();
        }
        rows.put(row.call, row);
        (row.count > 0 ? waiting : idle).put(row.call, row);
        return true;
    }

    private boolean denied(Call call) {
        try {
            return call.denied();
        } catch (Throwable e) {
            // The call is counted already: whoever caught this would count it once more.
            mistake.run();
            return false;
        }
    }

    synchronized void lose(String reason, long count) {
        lost.merge(reason, count, Long::sum);
    }

    /** Sends counts and losses as far as there is room. True when nothing is left. */
    synchronized boolean flush() {
        // A copy: a mistake on the way may empty the table.
        for (Row row : new ArrayList<>(waiting.values())) {
            if (row.count > 0 && !tell(row)) {
                return false;
            }
        }
        if (!lost.isEmpty() && sender.offer(Line.lost("Losses", lost))) {
            lost.clear();
        }
        return sender.drain() && lost.isEmpty() && sender.isEmpty();
    }

    synchronized boolean drain() {
        return sender.drain() && sender.isEmpty();
    }

    /** Says that the process ends. False when there is no room. */
    synchronized boolean bye() {
        boolean said = sender.offer(Line.lost("Bye", lost));
        if (said) {
            lost.clear();
        }
        return said;
    }

    synchronized void hello(byte[] line) {
        sender.hello(line);
    }

    /** The next line tries the socket, however short a time ago it was tried. */
    synchronized void tryAgain() {
        sender.tryAgain();
    }

    /** Whether there is a stream, or one on its way. */
    synchronized boolean reached() {
        return sender.reached();
    }

    /** Forgets everything: the switch says off. */
    synchronized void clear() {
        forget();
        lost.clear();
        sender.close();
    }

    /** Empties the table. How many calls nobody was told of. */
    synchronized long forget() {
        long untold = 0;
        for (Row row : waiting.values()) {
            untold += row.count;
            row.count = 0;
        }
        rows.clear();
        waiting.clear();
        idle.clear();
        return untold;
    }

    synchronized int size() {
        return rows.size();
    }

    /** Tries to send what a row owes. True: it is settled, told or lost. False: it waits on. Never throws. */
    private boolean tell(Row row) {
        String reason = null;
        try {
            byte[] line = Line.call(row.call, row.first, row.last, row.count, row.latency, row.requestId);
            if (line == null) {
                reason = "long";
            } else if (!sender.offer(line)) {
                return false;
            }
        } catch (Throwable e) {
            settle(row, "error");
            mistake.run();
            return true;
        }
        settle(row, reason);
        return true;
    }

    private void settle(Row row, String reason) {
        if (reason != null) {
            lose(reason, row.count);
        }
        row.told = true;
        row.count = 0;
        row.latency = 0;
        if (waiting.remove(row.call, row)) {
            idle.put(row.call, row);
        }
    }

    /** One call of the table, and what of it is not yet told. */
    private static final class Row {
        final Call call;
        boolean told;
        long count;
        long first;
        long last;
        long latency;
        String requestId;

        Row(Call call) {
            this.call = call;
        }

        void count(Call again) {
            if (count++ == 0) {
                first = again.began;
            }
            last = again.began;
            latency = Math.max(latency, again.latency);
            requestId = again.requestId;
        }
    }
}
