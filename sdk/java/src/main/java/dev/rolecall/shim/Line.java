package dev.rolecall.shim;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** An event → one line of JSON, with its line feed. */
final class Line {
    private static final int MOST = 8192;

    private final StringBuilder out = new StringBuilder("{\"Version\":2");

    private Line(String type) {
        text("Type", type, 64);
    }

    static byte[] hello(String sdk, String version, String shim, long pid) {
        Line line = new Line("Hello");
        line.text("Language", "java", 64);
        line.text("Sdk", sdk, 64);
        line.text("SdkVersion", version, 64);
        line.text("Shim", shim, 64);
        if (pid > 0) {
            line.number("Pid", pid);
        }
        return line.end();
    }

    /** {@code Losses} or {@code Bye}. */
    static byte[] lost(String type, Map<String, Long> lost) {
        Line line = new Line(type);
        line.out.append(",\"Lost\":{");
        String comma = "";
        for (Map.Entry<String, Long> each : lost.entrySet()) {
            line.out.append(comma).append('"').append(each.getKey()).append("\":").append(each.getValue());
            comma = ",";
        }
        line.out.append('}');
        return line.end();
    }

    /** A call that was made {@code count} times; first without its parameters if it is too long, then null. */
    static byte[] call(Call call, long first, long last, long count, long latency, String requestId) {
        Faults.pass("line");
        byte[] whole = call(call, first, last, count, latency, requestId, true);
        if (whole.length - 1 > MOST) {
            whole = call(call, first, last, count, latency, requestId, false);
        }
        return whole.length - 1 > MOST ? null : whole;
    }

    private static byte[] call(Call call, long first, long last, long count, long latency, String id, boolean all) {
        Line line = new Line(call.type);
        line.text("Service", call.service, 128);
        line.text("Api", call.api, 128);
        line.text("Region", call.region, 128);
        line.number("Timestamp", first);
        if (count > 1) {
            line.number("Last", last);
            line.number("Count", count);
        }
        line.text("Fqdn", call.host, 255);
        line.text("AccessKey", call.accessKey, 128);
        if (call.type.equals("ApiCall")) {
            line.number("Latency", latency);
            if (call.status >= 100 && call.status <= 599) {
                line.number("FinalHttpStatusCode", call.status);
            }
            line.text("FinalAwsException", call.code, 128);
            line.text("FinalSdkException", call.exception, 128);
        }
        line.text(call.requestIdOfS3 ? "XAmzRequestId" : "XAmznRequestId", id, 128);
        if (all && !call.parameters.isEmpty()) {
            line.parameters(call.parameters);
        }
        return line.end();
    }

    private void parameters(Map<String, List<String>> parameters) {
        out.append(",\"Parameters\":{");
        String comma = "";
        for (Map.Entry<String, List<String>> each : parameters.entrySet()) {
            out.append(comma);
            quote(each.getKey());
            comma = ":[";
            for (String value : each.getValue()) {
                out.append(comma);
                quote(value);
                comma = ",";
            }
            out.append(']');
        }
        out.append('}');
    }

    private void number(String name, long value) {
        out.append(",\"").append(name).append("\":").append(Math.max(0, value));
    }

    private void text(String name, String value, int most) {
        if (value == null || value.isEmpty()) {
            return;
        }
        out.append(",\"").append(name).append("\":");
        quote(value.length() <= most ? value : value.substring(0, most));
    }

    private void quote(String value) {
        out.append('"');
        for (int i = 0; i < value.length(); i++) {
            char c = value.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || c == 0x7f || loneSurrogate(value, i)) {
                String hex = Integer.toHexString(loneSurrogate(value, i) ? 0xfffd : c);
                out.append("\\u").append("0000", 0, 4 - hex.length()).append(hex);
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    // Half a pair is no text: a reader would refuse the whole line for it.
    private static boolean loneSurrogate(String value, int i) {
        char c = value.charAt(i);
        if (Character.isHighSurrogate(c)) {
            return i + 1 >= value.length() || !Character.isLowSurrogate(value.charAt(i + 1));
        }
        return Character.isLowSurrogate(c) && (i == 0 || !Character.isHighSurrogate(value.charAt(i - 1)));
    }

    private byte[] end() {
        return out.append("}\n").toString().getBytes(StandardCharsets.UTF_8);
    }
}
