package conformance;

import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What happens to a message that a consumer does not accept. */
final class RetryScenarios {
    private RetryScenarios() {}

    static void addTo(Suite suite) {
        suite.add("retry_later", RetryScenarios::later);
        suite.add("retry_dead_letter", RetryScenarios::deadLetter);
    }

    /** RECONSUME_LATER with delay level 1: the same message again after a second, with its count raised. */
    static void later(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = clients.push(clients.group());
        consumer.subscribe(topic, "t");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            received.add(messages);
            if (messages.get(0).getReconsumeTimes() > 0) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        SendResult sent = Clients.sendOk(clients.producer(), new Message(topic, "t", "key", "again".getBytes()));
        Check.eventually(Clients.PATIENCE, "a second delivery", () -> received.count() >= 2);
        Thread.sleep(2000);
        Check.equal(List.of("again", "again"), received.bodies(), "bodies");
        for (int i = 0; i < 2; i++) {
            MessageExt message = received.all().get(i);
            Check.equal(i, message.getReconsumeTimes(), "reconsume times");
            Check.equal(topic, message.getTopic(), "topic");
            Check.equal("t", message.getTags(), "tag");
            Check.equal("key", message.getKeys(), "keys");
            Check.equal(sent.getMsgId(), message.getMsgId(), "message id");
        }
        long gap = received.all().get(1).getStoreTimestamp() - received.all().get(0).getStoreTimestamp();
        Check.that(gap >= 990, "stored again after %d ms, level 1 is a second", gap);
    }

    /** With one retry allowed the second refusal puts the message into the group's dead-letter topic. */
    static void deadLetter(Clients clients) throws Exception {
        String topic = clients.createTopic(1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = clients.push(clients.group());
        consumer.setMaxReconsumeTimes(1);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            received.add(messages);
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        SendResult sent = Clients.sendOk(clients.producer(), new Message(topic, "t", "key", "refused".getBytes()));

        MessageExt dead = firstOf("%DLQ%" + clients.group(), clients);
        Check.equal("refused", Received.body(dead), "body");
        Check.equal("t", dead.getTags(), "tag");
        Check.equal("key", dead.getKeys(), "keys");
        Check.equal(sent.getMsgId(), dead.getMsgId(), "message id");
        Check.equal(topic, dead.getProperty("RETRY_TOPIC"), "RETRY_TOPIC of " + dead.getProperties());
        Check.equal(List.of(0, 1), received.all().stream().map(MessageExt::getReconsumeTimes).toList(), "deliveries");
    }

    private static MessageExt firstOf(String topic, Clients clients) throws Exception {
        DefaultMQPullConsumer reader = clients.pull(clients.group("reader"));
        PullResult[] found = new PullResult[1];
        Check.eventually(Clients.PATIENCE, "a message in " + topic, () -> {
            Collection<MessageQueue> queues = reader.fetchSubscribeMessageQueues(topic);
            Check.equal(1, queues.size(), "queues of " + topic);
            found[0] = reader.pull(queues.iterator().next(), "*", 0, 32);
            return found[0].getPullStatus() == PullStatus.FOUND;
        });
        Check.equal(1, found[0].getMsgFoundList().size(), "messages in " + topic);
        return found[0].getMsgFoundList().get(0);
    }
}
