package dev.rolecall.shim;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolFamily;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;

/**
 * The socket and the lines that wait for it. Never waits; knows nothing of calls. Whoever calls it holds the lock of the
 * {@link Fold}.
 */
final class Sender {
    private static final int BUFFER = 65_536;
    private static final long BACK_OFF_MIN_MS = 1_000;
    private static final long BACK_OFF_MAX_MS = 60_000;

    private final String address;
    private final ArrayDeque<byte[]> waiting = new ArrayDeque<>();
    private int bytes;
    /** Of the first line that waits, how much has left already. */
    private ByteBuffer leaving;
    private SocketChannel channel;
    private byte[] hello;
    private long nextTry = Long.MIN_VALUE;
    private long backOff = BACK_OFF_MIN_MS;

    Sender(String address) {
        this.address = address;
    }

    /** The first line of each stream. */
    void hello(byte[] line) {
        hello = line;
    }

    /** Takes a line, and sends what can be sent. False: nobody listens, or there is no room. */
    boolean offer(byte[] line) {
        Faults.pass("sender");
        if (!drain() || bytes + line.length > BUFFER) {
            return false;
        }
        waiting.add(line);
        bytes += line.length;
        drain();
        return true;
    }

    /** Sends what can be sent. False when nobody listens. */
    boolean drain() {
        // A channel closes itself under a thread that is interrupted; the application's own mark is put back.
        boolean interrupted = Thread.interrupted();
        try {
            return connected() && write();
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private boolean write() {
        try {
            while (leaving != null || !waiting.isEmpty()) {
                if (leaving == null) {
                    leaving = ByteBuffer.wrap(waiting.peek());
                }
                channel.write(leaving);
                if (leaving.hasRemaining()) {
                    return true;
                }
                leaving = null;
                bytes -= waiting.poll().length;
            }
            return true;
        } catch (IOException e) {
            broken();
            return false;
        }
    }

    boolean isEmpty() {
        return waiting.isEmpty();
    }

    /** Whether there is a stream, or one on its way. */
    boolean reached() {
        return channel != null;
    }

    /** Ends the wait for the next attempt. */
    void tryAgain() {
        nextTry = Long.MIN_VALUE;
    }

    /** Leaves at once and forgets what waits. */
    void close() {
        closeChannel();
        waiting.clear();
        bytes = 0;
    }

    private boolean connected() {
        try {
            if (channel == null) {
                long now = System.nanoTime() / 1_000_000;
                if (now < nextTry || hello == null) {
                    return false;
                }
                nextTry = now + backOff;
                backOff = Math.min(backOff * 2, BACK_OFF_MAX_MS);
                open();
            }
            return channel.isConnected() || (channel.finishConnect() && greeted());
        } catch (IOException e) {
            broken();
            return false;
        }
    }

    private void open() throws IOException {
        SocketAddress to = address(address);
        channel = to instanceof InetSocketAddress ? SocketChannel.open() : openUnix();
        channel.configureBlocking(false);
        if (channel.connect(to)) {
            greeted();
        }
    }

    private boolean greeted() {
        backOff = BACK_OFF_MIN_MS;
        waiting.addFirst(hello);
        bytes += hello.length;
        return true;
    }

    private void broken() {
        closeChannel();
        // A line that left in part leaves whole on the next stream; a greeting is made anew.
        if (waiting.peek() == hello && hello != null) {
            bytes -= waiting.poll().length;
        }
        long now = System.nanoTime() / 1_000_000;
        nextTry = Math.max(nextTry, now + BACK_OFF_MIN_MS);
    }

    private void closeChannel() {
        leaving = null;
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException e) {
            // It is gone either way.
        }
        channel = null;
    }

    private static SocketAddress address(String address) throws IOException {
        if (address.startsWith("tcp://")) {
            int colon = address.lastIndexOf(':');
            InetAddress host = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
            if (!address.substring(6, colon).equals("127.0.0.1")) {
                throw new IOException("not the loopback: " + address);
            }
            return new InetSocketAddress(host, Integer.parseInt(address.substring(colon + 1)));
        }
        try {
            Class<?> unix = Class.forName("java.net.UnixDomainSocketAddress");
            return (SocketAddress) unix.getMethod("of", String.class).invoke(null, address);
        } catch (ReflectiveOperationException e) {
            throw new IOException("no unix sockets before Java 16", e);
        }
    }

    private static SocketChannel openUnix() throws IOException {
        try {
            ProtocolFamily unix = StandardProtocolFamily.valueOf("UNIX");
            return (SocketChannel) SocketChannel.class.getMethod("open", ProtocolFamily.class).invoke(null, unix);
        } catch (ReflectiveOperationException | IllegalArgumentException e) {
            throw new IOException("no unix sockets before Java 16", e);
        }
    }
}
