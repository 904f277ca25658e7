package conformance;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumption: concurrent, orderly, filtered, broadcast, shared. */
final class PushScenarios {
    private PushScenarios() {}

    static void addTo(Suite suite) {
        suite.add("push_concurrent", PushScenarios::concurrent);
        suite.add("push_orderly", PushScenarios::orderly);
        suite.add("push_tags", PushScenarios::tags);
        suite.add("push_broadcast", PushScenarios::broadcast);
        suite.add("push_rebalance", PushScenarios::rebalance);
        suite.add("push_offset_persisted", PushScenarios::offsetPersisted);
    }

    /** 500 messages in four queues, half of them before the consumer is there, each delivered once. */
    static void concurrent(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        Set<String> want = Clients.send(producer, topic, "t", 0, 250);
        Received received = new Received();
        clients.recording(clients.group(), topic, "*", received);
        want.addAll(Clients.send(producer, topic, "t", 250, 250));
        received.awaitExactly(Clients.PATIENCE, want);

        Map<Integer, Set<Long>> offsets = new HashMap<>();
        for (MessageExt message : received.all()) {
            offsets.computeIfAbsent(message.getQueueId(), id -> new TreeSet<>()).add(message.getQueueOffset());
        }
        Check.equal(Set.of(0, 1, 2, 3), offsets.keySet(), "queues");
        offsets.forEach((id, seen) -> {
            Check.that(seen.contains(0L) && seen.contains(seen.size() - 1L), "offsets of queue %d have holes: %s", id, seen);
        });
    }

    /** Messages of one key stay in order, also across a listener that asks for a pause once. */
    static void orderly(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        int keys = 8;
        int perKey = 25;
        Received received = new Received();
        AtomicInteger suspended = new AtomicInteger();
        DefaultMQPushConsumer consumer = clients.push(clients.group());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            if (Received.body(messages.get(0)).equals("3:10") && suspended.getAndIncrement() == 0) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            received.add(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();

        DefaultMQProducer producer = clients.producer();
        Set<String> want = new HashSet<>();
        for (int i = 0; i < perKey; i++) {
            for (int key = 0; key < keys; key++) {
                String body = key + ":" + i;
                SendResult result = producer.send(Clients.message(topic, "t", body),
                    (queues, message, arg) -> queues.get((Integer) arg % queues.size()), key);
                Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
                want.add(body);
            }
        }
        received.awaitExactly(Clients.PATIENCE, want);
        Check.equal(2, suspended.get(), "deliveries of the message that was suspended once");
        Map<String, List<Integer>> perKeyOrder = new HashMap<>();
        for (String body : received.bodies()) {
            String[] parts = body.split(":");
            perKeyOrder.computeIfAbsent(parts[0], key -> new ArrayList<>()).add(Integer.parseInt(parts[1]));
        }
        perKeyOrder.forEach((key, order) -> Check.equal(order.stream().sorted().toList(), order, "order of key " + key));
    }

    /** "A || B" selects two of three tags; "AaAa" does not let through "BBBB", which has the same hash. */
    static void tags(Clients clients) throws Exception {
        String topic = clients.createTopic(2);
        Received either = new Received();
        Received collision = new Received();
        Received all = new Received();
        clients.recording(clients.group("either"), topic, "A || B", either);
        clients.recording(clients.group("collision"), topic, "AaAa", collision);
        clients.recording(clients.group("all"), topic, "*", all);
        DefaultMQProducer producer = clients.producer();
        Set<String> wantEither = Clients.send(producer, topic, "A", 0, 10);
        Set<String> wantAll = new HashSet<>(wantEither);
        Set<String> wantB = Clients.send(producer, topic, "B", 0, 10);
        wantEither.addAll(wantB);
        wantAll.addAll(wantB);
        wantAll.addAll(Clients.send(producer, topic, "C", 0, 10));
        wantAll.addAll(Clients.send(producer, topic, "BBBB", 0, 10));
        Set<String> wantCollision = Clients.send(producer, topic, "AaAa", 0, 10);
        wantAll.addAll(wantCollision);
        all.awaitExactly(Clients.PATIENCE, wantAll);
        either.awaitExactly(Clients.PATIENCE, wantEither);
        collision.awaitExactly(Clients.PATIENCE, wantCollision);
    }

    static void broadcast(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        Received[] received = {new Received(), new Received()};
        for (Received into : received) {
            DefaultMQPushConsumer consumer = clients.push(clients.group());
            // The enum stands in different packages in 4.x and 5.x, so it is not named here.
            var clustering = consumer.getMessageModel();
            consumer.setMessageModel(Enum.valueOf(clustering.getDeclaringClass(), "BROADCASTING"));
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                into.add(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
        }
        Set<String> want = Clients.send(clients.producer(), topic, "t", 0, 40);
        for (Received into : received) {
            into.awaitExactly(Clients.PATIENCE, want);
        }
    }

    /** Two members of a group share four queues two by two; when one leaves, the other takes all. */
    static void rebalance(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        Received one = new Received();
        Received two = new Received();
        DefaultMQPushConsumer first = clients.recording(clients.group(), topic, "*", one);
        DefaultMQPushConsumer second = clients.recording(clients.group(), topic, "*", two);
        Check.eventually(Clients.PATIENCE, "two queues each", () -> queuesOf(first, topic) == 2 && queuesOf(second, topic) == 2);
        Set<String> shared = Clients.send(producer, topic, "shared", 0, 40);
        Check.eventually(Clients.PATIENCE, "40 messages", () -> one.count() + two.count() >= 40);
        Set<String> seen = new HashSet<>(one.bodies());
        seen.addAll(two.bodies());
        Check.equal(shared, seen, "messages of both");
        Check.equal(40, one.count() + two.count(), "deliveries");
        Check.equal(2, queueIds(one).size(), "queues of the first");
        Check.equal(2, queueIds(two).size(), "queues of the second");

        second.shutdown();
        Check.eventually(Clients.PATIENCE, "all queues at the first", () -> queuesOf(first, topic) == 4);
        one.await(Clients.PATIENCE, Clients.send(producer, topic, "alone", 0, 20));
    }

    private static int queuesOf(DefaultMQPushConsumer consumer, String topic) {
        return (int) consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(topic)).count();
    }

    private static Set<Integer> queueIds(Received received) {
        return received.all().stream().map(MessageExt::getQueueId).collect(Collectors.toSet());
    }

    /** A consumer stops; what was sent meanwhile, and only that, goes to the next one of the group. */
    static void offsetPersisted(Clients clients) throws Exception {
        String topic = clients.createTopic(4);
        DefaultMQProducer producer = clients.producer();
        Received before = new Received();
        DefaultMQPushConsumer first = clients.recording(clients.group(), topic, "*", before);
        before.awaitExactly(Clients.PATIENCE, Clients.send(producer, topic, "before", 0, 40));
        first.shutdown();

        Set<String> meanwhile = Clients.send(producer, topic, "meanwhile", 0, 10);
        Received after = new Received();
        clients.recording(clients.group(), topic, "*", after);
        after.awaitExactly(Clients.PATIENCE, meanwhile);
    }
}
