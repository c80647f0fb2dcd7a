package dev.rolecall.shim;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;

/** What of a call may be told: {@code rules.json}, read in the order that its README gives. */
final class Redact {
    /** In the stead of a verdict: the value is told, if its form allows it. */
    static final String TOLD = "";

    // Names may begin like a session token; no token is as short as they are.
    private static final int SESSION_TOKEN_MIN = 100;
    private static final Pattern BASE64 = Pattern.compile("[A-Za-z0-9+/=_%-]*");
    private static final Redact RULES = new Redact(load());

    private final List<Rule> rules = new ArrayList<>();
    private final List<String> names;
    private final List<String> endings;
    private final List<String> keysOf;

    private Redact(Map<?, ?> file) {
        for (Object rule : (List<?>) file.get("redact")) {
            rules.add(new Rule((Map<?, ?>) rule));
        }
        Map<?, ?> keep = (Map<?, ?>) file.get("keep");
        names = lower(keep.get("names"));
        endings = lower(keep.get("endings"));
        keysOf = lower(keep.get("keysOf"));
    }

    /** Steps 1, 2 and 4 for a path: a marker, {@link #TOLD}, or null for what is left out. */
    static String verdict(String service, String path, boolean sensitive) {
        String kind = RULES.byName(letters(service), path);
        if (kind == null && sensitive) {
            kind = "secret";
        }
        if (kind != null) {
            return marker(kind);
        }
        return RULES.mayBeTold(path) ? TOLD : null;
    }

    /** Step 3: the kind of secret that a value is by its form, or null. */
    static String byForm(String value) {
        Faults.pass("redact");
        if (value.contains("X-Amz-Signature=") || value.contains("&Signature=")
                || value.contains("X-Amz-Security-Token=") || value.contains("x-amz-security-token=")) {
            return "signed-url";
        }
        if (value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----")) {
            return "private-key";
        }
        if (value.length() >= SESSION_TOKEN_MIN
                && (value.startsWith("FQoG") || value.startsWith("FwoG") || value.startsWith("IQoJ"))
                && BASE64.matcher(value).matches()) {
            return "session-token";
        }
        return value.startsWith("ey") && isJsonWebToken(value) ? "token" : null;
    }

    static String marker(String kind) {
        return "<redacted " + kind + ">";
    }

    private static boolean isJsonWebToken(String value) {
        String[] parts = value.split("\\.", -1);
        return parts.length == 3 && parts[1].startsWith("ey") && BASE64.matcher(parts[0]).matches()
                && BASE64.matcher(parts[1]).matches() && BASE64.matcher(parts[2]).matches();
    }

    private String byName(String service, String path) {
        String[] members = members(path);
        for (Rule rule : rules) {
            if (rule.fits(service, members)) {
                return rule.kind;
            }
        }
        return null;
    }

    private boolean mayBeTold(String path) {
        String[] members = members(path);
        String last = members[members.length - 1];
        if (path.endsWith("{}")) {
            return keysOf.contains(last);
        }
        return names.contains(last) || endings.stream().anyMatch(last::endsWith);
    }

    private static String[] members(String path) {
        return path.replace("[]", "").replace("{}", "").toLowerCase(Locale.ROOT).split("\\.");
    }

    private static String letters(String service) {
        StringBuilder out = new StringBuilder();
        service.toLowerCase(Locale.ROOT).chars().filter(Character::isLetterOrDigit).forEach(c -> out.append((char) c));
        return out.toString();
    }

    private static List<String> lower(Object list) {
        List<String> out = new ArrayList<>();
        for (Object name : (List<?>) list) {
            out.add(((String) name).toLowerCase(Locale.ROOT));
        }
        return out;
    }

    private static Map<?, ?> load() {
        try (InputStream in = Redact.class.getResourceAsStream("rules.json")) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] part = new byte[8192];
            for (int n = in.read(part); n >= 0; n = in.read(part)) {
                out.write(part, 0, n);
            }
            return (Map<?, ?>) Json.read(out.toString("UTF-8"));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    /** One rule of {@code redact}. */
    private static final class Rule {
        final String service;
        final String kind;
        final List<String> names;

        Rule(Map<?, ?> rule) {
            service = letters((String) rule.get("service"));
            kind = (String) rule.get("kind");
            names = lower(rule.get("names"));
        }

        boolean fits(String called, String[] members) {
            if (!service.isEmpty() && !service.equals(called)) {
                return false;
            }
            for (String member : members) {
                for (String name : names) {
                    if (matches(name, member)) {
                        return true;
                    }
                }
            }
            return false;
        }

        private static boolean matches(String name, String member) {
            if (name.startsWith("*")) {
                return member.endsWith(name.substring(1));
            }
            return name.endsWith("*") ? member.startsWith(name.substring(0, name.length() - 1)) : member.equals(name);
        }
    }
}
