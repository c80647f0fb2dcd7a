package dev.rolecall.shim;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;

/** The agent's end of the socket: keeps the lines. */
final class Agent implements AutoCloseable {
    final Path socket;
    final List<Map<?, ?>> lines = new CopyOnWriteArrayList<>();
    private final ServerSocketChannel server;
    private final List<SocketChannel> streams = new CopyOnWriteArrayList<>();
    private final List<Thread> threads = new CopyOnWriteArrayList<>();

    Agent(Path socket, boolean reads) throws IOException {
        this.socket = socket;
        server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        server.bind(UnixDomainSocketAddress.of(socket));
        start(() -> accept(reads));
    }

    private void start(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        threads.add(thread);
        thread.start();
    }

    private void accept(boolean reads) {
        try {
            while (true) {
                SocketChannel stream = server.accept();
                streams.add(stream);
                if (reads) {
                    start(() -> read(stream));
                }
            }
        } catch (IOException e) {
            // Closed.
        }
    }

    private void read(SocketChannel stream) {
        try (BufferedReader in = new BufferedReader(
                new InputStreamReader(Channels.newInputStream(stream), StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                lines.add((Map<?, ?>) Json.read(line));
            }
        } catch (IOException e) {
            // Closed.
        }
    }

    List<Map<?, ?>> of(String type, String api) {
        List<Map<?, ?>> out = new ArrayList<>();
        for (Map<?, ?> line : lines) {
            if (type.equals(line.get("Type")) && (api == null || api.equals(line.get("Api")))) {
                out.add(line);
            }
        }
        return out;
    }

    Map<?, ?> one(String type, String api) throws InterruptedException {
        for (int i = 0; i < 1000 && of(type, api).isEmpty(); i++) {
            Thread.sleep(10);
        }
        List<Map<?, ?>> found = of(type, api);
        if (found.isEmpty()) {
            throw new AssertionError("no " + type + " of " + api + " in " + lines);
        }
        return found.get(0);
    }

    /** How many calls all lines stand for, with those that were lost. */
    long calls() {
        long sum = 0;
        for (Map<?, ?> line : lines) {
            if ("ApiCall".equals(line.get("Type"))) {
                Object count = line.get("Count");
                sum += count == null ? 1 : ((Double) count).longValue();
            }
        }
        return sum + lost(null);
    }

    /** How many calls were lost for this reason, or for any. */
    long lost(String reason) {
        long sum = 0;
        for (Map<?, ?> line : lines) {
            if (line.get("Lost") instanceof Map) {
                for (Map.Entry<?, ?> each : ((Map<?, ?>) line.get("Lost")).entrySet()) {
                    sum += reason == null || reason.equals(each.getKey()) ? ((Double) each.getValue()).longValue() : 0;
                }
            }
        }
        return sum;
    }

    @Override
    public void close() throws IOException {
        server.close();
        for (SocketChannel stream : streams) {
            stream.close();
        }
        // A stream is gone when nobody reads from it any more.
        for (Thread thread : threads) {
            try {
                thread.join(10_000);
            } catch (InterruptedException e) {
                throw new IOException(e);
            }
        }
        Files.deleteIfExists(socket);
    }
}
