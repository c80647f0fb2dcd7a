package dev.rolecall.shim;

/** The id of the key that a request was signed with, from its header: what was really used, whoever chose it. */
public final class AccessKey {
    private AccessKey() {}

    /** From {@code Authorization}; null for a bearer's token, or what is no key's id. */
    public static String of(String header) {
        if (header == null) {
            return null;
        }
        int from = header.indexOf("Credential=");
        if (from >= 0) {
            return id(header, from + 11, header.indexOf('/', from));
        }
        return header.startsWith("AWS ") ? id(header, 4, header.indexOf(':')) : null;
    }

    private static String id(String header, int from, int to) {
        if (to - from < 16 || to - from > 128) {
            return null;
        }
        for (int i = from; i < to; i++) {
            char c = header.charAt(i);
            if (!(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 'a' && c <= 'z')) {
                return null;
            }
        }
        return header.substring(from, to);
    }
}
