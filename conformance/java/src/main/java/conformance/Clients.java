package conformance;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The clients, topics and groups of one scenario. Names are unique per run, so that a server can be used again. */
final class Clients implements AutoCloseable {
    /** Generous because several scenarios share a small machine. */
    static final int PATIENCE = 40;

    final String namesrv;
    private final String prefix;
    private final Deque<Runnable> closers = new ArrayDeque<>();
    private int instances;

    Clients(String namesrv, String run, String scenario) {
        this.namesrv = namesrv;
        this.prefix = "conf-" + run + "-" + scenario;
    }

    String topic() {
        return prefix;
    }

    String group() {
        return prefix + "-g";
    }

    String group(String suffix) {
        return prefix + "-g-" + suffix;
    }

    /** Creates the scenario's topic the way an administrator does, on one broker, so that the number of queues is certain. */
    String createTopic(int queues) throws Exception {
        String topic = topic();
        TopicConfig config = new TopicConfig(topic);
        config.setReadQueueNums(queues);
        config.setWriteQueueNums(queues);
        DefaultMQAdminExt admin = admin();
        var brokers = new TreeMap<>(admin.examineBrokerClusterInfo().getBrokerAddrTable());
        admin.createAndUpdateTopicConfig(brokers.firstEntry().getValue().selectBrokerAddr(), config);
        Check.eventually(PATIENCE, "route of " + topic, () -> !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
        return topic;
    }

    DefaultMQAdminExt admin() throws MQClientException {
        DefaultMQAdminExt admin = configure(new DefaultMQAdminExt());
        admin.setAdminExtGroup(prefix + "-admin" + instances);
        closers.push(admin::shutdown);
        admin.start();
        return admin;
    }

    DefaultMQProducer producer() throws MQClientException {
        DefaultMQProducer producer = configure(new DefaultMQProducer(prefix + "-p"));
        producer.setSendMsgTimeout(10_000);
        closers.push(producer::shutdown);
        producer.start();
        return producer;
    }

    /** A push consumer that begins at the first message, not started. */
    DefaultMQPushConsumer push(String group) {
        DefaultMQPushConsumer consumer = configure(new DefaultMQPushConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        closers.push(consumer::shutdown);
        return consumer;
    }

    /** A started push consumer that records and acknowledges everything. */
    DefaultMQPushConsumer recording(String group, String topic, String tags, Received into) throws MQClientException {
        DefaultMQPushConsumer consumer = push(group);
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            into.add(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    DefaultLitePullConsumer litePull(String group) {
        DefaultLitePullConsumer consumer = configure(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        closers.push(consumer::shutdown);
        return consumer;
    }

    /** The deprecated pull consumer: one request, one answer, which is what some checks need. */
    @SuppressWarnings("deprecation")
    DefaultMQPullConsumer pull(String group) throws MQClientException {
        DefaultMQPullConsumer consumer = configure(new DefaultMQPullConsumer(group));
        closers.push(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    private <C extends ClientConfig> C configure(C client) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName(prefix + "#" + instances++);
        client.setPollNameServerInterval(1000);
        // A first heartbeat that finds another one under way is dropped by the client; the next would follow after 30 s.
        client.setHeartbeatBrokerInterval(2000);
        return client;
    }

    /** Sends first, first+1, … as bodies and returns the bodies. */
    static Set<String> send(DefaultMQProducer producer, String topic, String tag, int first, int count) throws Exception {
        Set<String> bodies = new LinkedHashSet<>();
        for (int i = first; i < first + count; i++) {
            String body = tag + "-" + i;
            sendOk(producer, message(topic, tag, body));
            bodies.add(body);
        }
        return bodies;
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, body.getBytes(StandardCharsets.UTF_8));
    }

    static SendResult sendOk(DefaultMQProducer producer, Message message) throws Exception {
        SendResult result = producer.send(message);
        Check.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        return result;
    }

    @Override
    public void close() {
        for (Runnable closer : closers) {
            closer.run();
        }
    }
}
