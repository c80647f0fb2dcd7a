package dev.rolecall.shim;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** A service on the loopback that answers every call in the same way. */
final class Stub implements AutoCloseable {
    volatile int status = 200;
    private final HttpServer server;

    static {
        // Head and body leave apart; without this the second waits 40 ms for the first's receipt.
        System.setProperty("sun.net.httpserver.nodelay", "true");
    }

    Stub() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            exchange.getRequestBody().readAllBytes();
            byte[] body = (status == 200 ? "{\"QueueUrl\":\"http://queue\"}" : "{\"__type\":\"AccessDeniedException\"}")
                    .getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().add("x-amzn-RequestId", "R1");
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
