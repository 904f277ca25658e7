package conformance;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumption at the caller's own pace. */
final class PullScenarios {
    private PullScenarios() {}

    static void addTo(Suite suite) {
        suite.add("litepull_subscribe", PullScenarios::subscribe);
        suite.add("litepull_assign_seek", PullScenarios::assignAndSeek);
        suite.add("pull_statuses", PullScenarios::statuses);
    }

    /** Subscribe mode: the group's queues are assigned to the one member; committed messages do not come again. */
    static void subscribe(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        Set<String> want = Clients.send(producer, topic, "t", 0, 40);
        Received received = new Received();
        DefaultLitePullConsumer first = clients.litePull(clients.group());
        first.setAutoCommit(false);
        first.subscribe(topic, "*");
        first.start();
        poll(first, received, want);
        first.commitSync();
        first.shutdown();
        Check.equal(want.size(), received.count(), "deliveries");

        want = Clients.send(producer, topic, "t", 40, 10);
        Received rest = new Received();
        DefaultLitePullConsumer second = clients.litePull(clients.group());
        second.subscribe(topic, "*");
        second.start();
        poll(second, rest, want);
        Check.equal(want.size(), rest.count(), "deliveries after the commit");
    }

    /** Assign mode: the reader goes to a place of its choice, and its commit is readable by the group. */
    static void assignAndSeek(Clients clients) throws Exception {
        String topic = clients.createTopic(2);
        Clients.send(clients.producer(), topic, "t", 0, 40);
        DefaultLitePullConsumer consumer = clients.litePull(clients.group());
        consumer.setAutoCommit(false);
        consumer.start();
        Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
        Check.equal(2, queues.size(), "queues");
        consumer.assign(queues);
        // seek interrupts the thread of the queue's last pull, which may be at work for the other queue by then, or in the middle of the
        // connection that both share: now and then the client loses a pull, or answers the next call with an exception. A user would seek again.
        boolean arrived = false;
        for (int attempt = 1; !arrived; attempt++) {
            try {
                for (MessageQueue queue : queues) {
                    consumer.seek(queue, 15);
                }
                awaitFrom15(consumer, topic);
                arrived = true;
            } catch (MQClientException | AssertionError e) {
                if (attempt == 3) {
                    throw e;
                }
                System.out.println("      seek again after " + e);
            }
        }
        consumer.commitSync();
        for (MessageQueue queue : queues) {
            Check.eventually(Clients.PATIENCE, "commit of " + queue, () -> consumer.committed(queue) == 20);
            consumer.seekToBegin(queue);
        }
        Check.eventually(Clients.PATIENCE, "the first message again", () ->
            consumer.poll(1000).stream().anyMatch(message -> message.getQueueOffset() == 0));
    }

    /** Polls until the last five messages of both queues are there, each queue's in order. */
    private static void awaitFrom15(DefaultLitePullConsumer consumer, String topic) throws Exception {
        Map<MessageQueue, Long> next = new HashMap<>();
        Check.eventually(12, "five messages of each queue", () -> {
            for (MessageExt message : consumer.poll(1000)) {
                MessageQueue queue = new MessageQueue(topic, message.getBrokerName(), message.getQueueId());
                if (!next.containsKey(queue) && message.getQueueOffset() < 15) {
                    continue; // a pull that the client had under way when seek was called
                }
                Check.equal(next.getOrDefault(queue, 15L), message.getQueueOffset(), "offset in " + queue);
                next.put(queue, message.getQueueOffset() + 1);
            }
            return next.size() == 2 && next.values().stream().allMatch(offset -> offset == 20);
        });
    }

    /** One pull, one answer: found, nothing new, nothing that matches, and offsets outside the queue. */
    static void statuses(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        Clients.send(clients.producer(), topic, "t", 0, 10);
        DefaultMQPullConsumer consumer = clients.pull(clients.group());
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(topic).iterator().next();

        PullResult found = consumer.pull(queue, "*", 4, 3);
        Check.equal(PullStatus.FOUND, found.getPullStatus(), "status");
        Check.equal(List.of(4L, 5L, 6L), found.getMsgFoundList().stream().map(MessageExt::getQueueOffset).toList(), "offsets");
        expect(found, PullStatus.FOUND, 7);
        expect(consumer.pull(queue, "*", 10, 32), PullStatus.NO_NEW_MSG, 10);
        expect(consumer.pull(queue, "other", 0, 32), PullStatus.NO_MATCHED_MSG, 10);
        expect(consumer.pull(queue, "*", 11, 32), PullStatus.OFFSET_ILLEGAL, 10);

        consumer.updateConsumeOffset(queue, 7);
        consumer.getOffsetStore().persist(queue);
        Check.eventually(Clients.PATIENCE, "committed offset", () -> consumer.fetchConsumeOffset(queue, true) == 7);
    }

    private static void expect(PullResult result, PullStatus status, long next) {
        Check.equal(status, result.getPullStatus(), "status");
        Check.equal(next, result.getNextBeginOffset(), "next offset of " + status);
        Check.equal(0L, result.getMinOffset(), "minimum of " + status);
        Check.equal(10L, result.getMaxOffset(), "maximum of " + status);
    }

    private static void poll(DefaultLitePullConsumer consumer, Received into, Set<String> want) throws InterruptedException {
        Check.eventually(Clients.PATIENCE, want.size() + " messages", () -> {
            into.add(consumer.poll(500));
            return into.bodies().containsAll(want);
        });
    }
}
