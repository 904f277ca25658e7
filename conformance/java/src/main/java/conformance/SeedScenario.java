package conformance;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The quick start, as users run it: Producer and Consumer as processes of their own, against localhost:9876. One
 * message is there before the consumer starts, another is sent while it waits.
 */
final class SeedScenario implements Suite.Scenario {
    private static final String RECEIVED = "Received message: my-message-body";

    @Override
    public void run(Clients clients) throws Exception {
        String before = produce();
        Child consumer = Child.start(List.of(), "Consumer");
        Check.eventually(9, RECEIVED, () -> count(consumer.output()) >= 1);
        String during = produce();
        String output = consumer.finish();
        Check.that(count(output) >= 2, "the consumer has not seen both messages:%n%s", output);

        for (String id : List.of(before, during)) {
            MessageExt message = clients.admin().viewMessage("my-topic", id);
            Check.equal("my-tag", message.getTags(), "tag");
            Check.equal("my-message-body", Received.body(message), "body");
        }
    }

    /** Runs the producer and returns the id of its message. */
    private static String produce() throws Exception {
        String output = Child.start(List.of(), "Producer").finish();
        Check.contains(output, "sendStatus=SEND_OK", "output of the producer");
        Matcher id = Pattern.compile("offsetMsgId=([0-9A-F]+)").matcher(output);
        Check.that(id.find(), "no offsetMsgId in %s", output);
        return id.group(1);
    }

    private static int count(String output) {
        return (int) output.lines().filter(RECEIVED::equals).count();
    }
}
