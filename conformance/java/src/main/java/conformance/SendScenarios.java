package conformance;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The ways of sending. */
final class SendScenarios {
    private SendScenarios() {}

    static void addTo(Suite suite) {
        suite.add("send_auto_create", SendScenarios::autoCreate);
        suite.add("send_batch", SendScenarios::batch);
        suite.add("send_async", SendScenarios::async);
        suite.add("send_oneway", SendScenarios::oneway);
        suite.add("send_compressed", SendScenarios::compressed);
        suite.add("send_delayed", SendScenarios::delayed);
    }

    /** A send to a topic that nobody created makes the topic, with the four queues that the producer asks for. */
    static void autoCreate(Clients clients) throws Exception {
        DefaultMQProducer producer = clients.producer();
        SendResult result = Clients.sendOk(producer, Clients.message(clients.topic(), "t", "first"));
        Check.equal(0L, result.getQueueOffset(), "offset of the first message");
        Check.equal(clients.topic(), result.getMessageQueue().getTopic(), "topic");
        Check.that(result.getMsgId().length() >= 32, "message id %s", result.getMsgId());
        Check.that(result.getOffsetMsgId().length() >= 32, "offset message id %s", result.getOffsetMsgId());
        Check.that(result.isTraceOn(), "the answer lacks TRACE_ON=true");
        Check.equal("DefaultRegion", result.getRegionId(), "MSG_REGION");

        Received received = new Received();
        clients.recording(clients.group(), clients.topic(), "*", received);
        received.awaitExactly(Clients.PATIENCE, Set.of("first"));
        Check.equal(4, clients.producer().fetchPublishMessageQueues(clients.topic()).size(), "queues");
    }

    static void batch(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        List<Message> messages = new ArrayList<>();
        Set<String> bodies = new HashSet<>();
        for (int i = 0; i < 20; i++) {
            bodies.add("batch-" + i);
            messages.add(new Message(topic, "t" + i % 2, "key-" + i, ("batch-" + i).getBytes()));
        }
        SendResult result = clients.producer().send(messages);
        Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        Check.equal(20, result.getMsgId().split(",").length, "message ids");
        Check.equal(20, new HashSet<>(Arrays.asList(result.getOffsetMsgId().split(","))).size(), "offset message ids");

        Received received = new Received();
        clients.recording(clients.group(), topic, "*", received);
        received.awaitExactly(Clients.PATIENCE, bodies);
        for (MessageExt message : received.all()) {
            int i = Integer.parseInt(Received.body(message).substring("batch-".length()));
            Check.equal((long) i, message.getQueueOffset(), "offset of item " + i);
            Check.equal("t" + i % 2, message.getTags(), "tag of item " + i);
            Check.equal("key-" + i, message.getKeys(), "keys of item " + i);
            Check.equal(result.getMsgId().split(",")[i], message.getMsgId(), "id of item " + i);
        }
    }

    static void async(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        int count = 50;
        CountDownLatch done = new CountDownLatch(count);
        ConcurrentLinkedQueue<Object> wrong = new ConcurrentLinkedQueue<>();
        for (int i = 0; i < count; i++) {
            producer.send(Clients.message(topic, "t", "async-" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (result.getSendStatus() != SendStatus.SEND_OK) {
                        wrong.add(result);
                    }
                    done.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    wrong.add(e);
                    done.countDown();
                }
            });
        }
        Check.that(done.await(Clients.PATIENCE, TimeUnit.SECONDS), "%d callbacks are missing", done.getCount());
        Check.that(wrong.isEmpty(), "%s", wrong);
        Check.equal((long) count, sumOfMaxOffsets(producer, topic), "messages stored");
    }

    static void oneway(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 20; i++) {
            producer.sendOneway(Clients.message(topic, "t", "oneway-" + i));
        }
        Check.eventually(Clients.PATIENCE, "20 messages stored", () -> sumOfMaxOffsets(producer, topic) == 20);
    }

    /** Bodies from 4 KiB on are compressed by the client and come back whole; incompressible ones up to nearly 4 MiB pass as well. */
    static void compressed(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        DefaultMQProducer producer = clients.producer();
        byte[] text = "varve ".repeat(20_000).getBytes();
        byte[] noise = new byte[3_900_000];
        new Random(7).nextBytes(noise);
        Clients.sendOk(producer, new Message(topic, "text", text));
        Clients.sendOk(producer, new Message(topic, "noise", noise));

        Received received = new Received();
        clients.recording(clients.group(), topic, "*", received);
        Check.eventually(Clients.PATIENCE, "two messages", () -> received.count() == 2);
        for (MessageExt message : received.all()) {
            boolean isText = message.getTags().equals("text");
            Check.that(Arrays.equals(isText ? text : noise, message.getBody()), "the body of %s differs", message.getTags());
            // Newer clients clear the compression bits of the flag when they decode, so the stored size has to tell.
            Check.that(!isText || message.getStoreSize() < 4096, "stored size %d of the compressible text", message.getStoreSize());
        }
    }

    static void delayed(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        Received received = new Received();
        clients.recording(clients.group(), topic, "*", received);
        DefaultMQProducer producer = clients.producer();
        Clients.send(producer, topic, "plain", 0, 1);
        Message message = Clients.message(topic, "late", "late-0");
        message.setDelayTimeLevel(1);
        long sent = System.currentTimeMillis();
        Clients.sendOk(producer, message);
        received.await(Clients.PATIENCE, Set.of("late-0", "plain-0"));
        long took = System.currentTimeMillis() - sent;
        Check.that(took >= 990, "delivered after %d ms, level 1 is a second", took);
        Check.that(took < 10_000, "delivered after %d ms only", took);
        MessageExt late = received.all().stream().filter(each -> "late".equals(each.getTags())).findFirst().orElseThrow();
        Check.equal(topic, late.getTopic(), "topic");
        Check.equal(0, late.getReconsumeTimes(), "reconsume times");
    }

    static long sumOfMaxOffsets(DefaultMQProducer producer, String topic) throws Exception {
        long sum = 0;
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            sum += producer.maxOffset(queue);
        }
        return sum;
    }
}
