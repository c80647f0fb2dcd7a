package dev.rolecall.shim;

/** The service's id and the SDK's version. The SDK for Java 2 keeps them to itself but for its {@code User-Agent}. */
public final class ServiceId {
    private ServiceId() {}

    /** {@code api/Cognito_Identity_Provider#2.40.2} → {@code Cognito Identity Provider}; else the name that is known. */
    public static String of(String name, String agent) {
        String id = after(agent, "api/", "#");
        if (id == null) {
            return name;
        }
        id = id.replace('_', ' ');
        // It is the same name with other gaps and cases, or it is something else.
        return name == null || id.replace(" ", "").equalsIgnoreCase(name.replace(" ", "")) ? id : name;
    }

    /** {@code aws-sdk-java/2.40.2} → {@code 2.40.2}, or null. */
    public static String sdkVersion(String agent) {
        return after(agent, "aws-sdk-java/", " ");
    }

    private static String after(String agent, String before, String end) {
        int from = agent == null ? -1 : agent.indexOf(before);
        int to = from < 0 ? -1 : agent.indexOf(end, from);
        return to < 0 ? null : agent.substring(from + before.length(), to);
    }
}
