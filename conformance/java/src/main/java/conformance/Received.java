package conformance;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.common.message.MessageExt;

/** What a consumer has seen, in the order in which it saw it. */
final class Received {
    private final List<MessageExt> messages = new ArrayList<>();

    synchronized void add(List<MessageExt> more) {
        messages.addAll(more);
    }

    synchronized List<MessageExt> all() {
        return new ArrayList<>(messages);
    }

    synchronized int count() {
        return messages.size();
    }

    List<String> bodies() {
        List<String> bodies = new ArrayList<>();
        for (MessageExt message : all()) {
            bodies.add(body(message));
        }
        return bodies;
    }

    static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** Waits until every body of want has come at least once. */
    void await(int seconds, Set<String> want) throws InterruptedException {
        try {
            Check.eventually(seconds, want.size() + " messages", () -> new HashSet<>(bodies()).containsAll(want));
        } catch (AssertionError e) {
            Set<String> missing = new HashSet<>(want);
            missing.removeAll(bodies());
            throw new AssertionError(e.getMessage() + "; seen " + count() + ", missing " + missing.size() + ": "
                + missing.stream().sorted().limit(10).toList(), e.getCause());
        }
    }

    /** Waits for exactly want: each once, and nothing else in the second after the last. */
    void awaitExactly(int seconds, Set<String> want) throws InterruptedException {
        await(seconds, want);
        Thread.sleep(1000);
        List<String> got = bodies();
        Check.equal(want, new HashSet<>(got), "set of bodies");
        Check.equal(want.size(), got.size(), "deliveries");
    }
}
