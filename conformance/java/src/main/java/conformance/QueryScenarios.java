package conformance;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Questions about offsets and single messages. */
final class QueryScenarios {
    private QueryScenarios() {}

    static void addTo(Suite suite) {
        suite.add("query_offsets", QueryScenarios::offsets);
        suite.add("query_messages", QueryScenarios::messages);
    }

    static void offsets(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        DefaultMQProducer producer = clients.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        Check.equal(0L, producer.minOffset(queue), "minimum of an empty queue");
        Check.equal(0L, producer.maxOffset(queue), "maximum of an empty queue");

        long start = System.currentTimeMillis();
        Clients.send(producer, topic, "early", 0, 5);
        Thread.sleep(100);
        long middle = System.currentTimeMillis();
        Thread.sleep(100);
        Clients.send(producer, topic, "late", 5, 5);
        Check.eventually(Clients.PATIENCE, "maximum 10", () -> producer.maxOffset(queue) == 10);
        Check.equal(0L, producer.minOffset(queue), "minimum");
        Check.equal(0L, producer.searchOffset(queue, start - 60_000), "offset of a minute ago");
        Check.equal(5L, producer.searchOffset(queue, middle), "offset of the middle");
        long earliest = producer.earliestMsgStoreTime(queue);
        Check.that(earliest >= start && earliest <= middle, "earliest store time %d, not in %d..%d", earliest, start, middle);
    }

    static void messages(Clients clients) throws Exception {
        String topic = clients.createTopic(2);
        DefaultMQProducer producer = clients.producer();
        long start = System.currentTimeMillis();
        Clients.send(producer, topic, "other", 0, 10);
        Message message = new Message(topic, "t", "order-1 customer-7", "wanted".getBytes());
        message.putUserProperty("colour", "blue");
        SendResult sent = Clients.sendOk(producer, message);
        Clients.sendOk(producer, new Message(topic, "t", "order-2 customer-7", "second".getBytes()));

        MessageExt byOffset = producer.viewMessage(topic, sent.getOffsetMsgId());
        expect(byOffset, sent);
        Check.eventually(Clients.PATIENCE, "the message by its unique id", () -> producer.viewMessage(topic, sent.getMsgId()) != null);
        expect(producer.viewMessage(topic, sent.getMsgId()), sent);
        Check.equal(Set.of("wanted"), byKey(producer, topic, "order-1", start, 1), "messages of order-1");
        Check.equal(Set.of("wanted", "second"), byKey(producer, topic, "customer-7", start, 2), "messages of customer-7");
    }

    private static void expect(MessageExt message, SendResult sent) {
        Check.equal("wanted", Received.body(message), "body");
        Check.equal(sent.getQueueOffset(), message.getQueueOffset(), "queue offset");
        Check.equal(sent.getMessageQueue().getQueueId(), message.getQueueId(), "queue");
        Check.equal("order-1 customer-7", message.getKeys(), "keys");
        Check.equal("blue", message.getUserProperty("colour"), "user property");
    }

    private static Set<String> byKey(DefaultMQProducer producer, String topic, String key, long start, int count) throws Exception {
        Set<String> bodies = new HashSet<>();
        Check.eventually(Clients.PATIENCE, count + " messages of key " + key, () -> {
            List<MessageExt> found =
                producer.queryMessage(topic, key, 32, start - 1000, System.currentTimeMillis() + 1000).getMessageList();
            found.forEach(message -> bodies.add(Received.body(message)));
            return found.size() >= count;
        });
        return bodies;
    }
}
