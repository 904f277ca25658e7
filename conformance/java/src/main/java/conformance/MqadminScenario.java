package conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** The everyday commands of mqadmin, each in a process of its own, with the essential part of what they print. */
final class MqadminScenario implements Suite.Scenario {
    private static final int MESSAGES = 12;

    private String namesrv;

    /** A command under way; the next may be started before its answer is read. */
    private final class Command {
        private final String[] words;
        private final Child child;
        private final long start = System.nanoTime();

        Command(String... words) throws Exception {
            this.words = words;
            List<String> args = new ArrayList<>(List.of(words));
            args.addAll(List.of("-n", namesrv));
            child = Child.start(List.of(), "org.apache.rocketmq.tools.command.MQAdminStartup", args.toArray(new String[0]));
        }

        String expect(String... parts) throws Exception {
            String output = child.finish();
            for (String part : parts) {
                Check.contains(output, part, words[0]);
            }
            System.out.printf(Locale.ROOT, "pass  %-24s %6.1f s%n", words[0], (System.nanoTime() - start) / 1e9);
            return output;
        }
    }

    @Override
    public void run(Clients clients) throws Exception {
        namesrv = clients.namesrv;
        String topic = clients.topic();
        String group = clients.group();
        DefaultMQAdminExt admin = clients.admin();
        var info = admin.examineBrokerClusterInfo();
        String cluster = info.getClusterAddrTable().keySet().iterator().next();
        String broker = info.getClusterAddrTable().get(cluster).iterator().next();
        String address = info.getBrokerAddrTable().get(broker).selectBrokerAddr();

        Command updateTopic = new Command("updateTopic", "-c", cluster, "-t", topic, "-r", "4", "-w", "4");
        Command updateGroup = new Command("updateSubGroup", "-c", cluster, "-g", group, "-r", "3");
        updateTopic.expect("create topic to " + address + " success", "readQueueNums=4", topic);
        updateGroup.expect("create subscription group to " + address + " success", group);

        Received received = new Received();
        DefaultMQPushConsumer consumer = clients.recording(group, topic, "*", received);
        DefaultMQProducer producer = clients.producer();
        SendResult last = null;
        for (int i = 0; i < MESSAGES; i++) {
            last = Clients.sendOk(producer, new Message(topic, "t", "key-" + i, ("body-" + i).getBytes()));
        }
        Check.eventually(Clients.PATIENCE, "all messages", () -> received.count() == MESSAGES);

        // A command spends much of its time waiting, so those that only read are started three at a time. With more of them the
        // machine is so busy with starting Java that the commands' own timeouts end.
        boolean old = MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION).startsWith("V4");
        Command list = new Command("topicList");
        Command route = new Command("topicRoute", "-t", topic);
        Command clusters = new Command("clusterList");
        list.expect(topic);
        route.expect("brokerName", broker, address, "readQueueNums", "writeQueueNums");
        clusters.expect(cluster, broker, address);

        Command brokerStatus = new Command("brokerStatus", "-b", address);
        Command topicStatus = new Command("topicStatus", "-t", topic);
        Command connection = new Command("consumerConnection", "-g", group);
        brokerStatus.expect("brokerVersionDesc", "bootTimestamp", "putTps", "runtime");
        Check.equal(4L, rows(topicStatus.expect(broker), broker), "rows of topicStatus");
        connection.expect(consumer.getClientIP() + "@", "JAVA", topic, "CONSUME_PASSIVELY", "CLUSTERING", "CONSUME_FROM_FIRST_OFFSET");

        Command byKey = new Command("queryMsgByKey", "-t", topic, "-k", "key-" + (MESSAGES - 1));
        Command byUnique = new Command("queryMsgByUniqueKey", "-t", topic, "-i", last.getMsgId());
        Command byId = old
            ? new Command("queryMsgById", "-i", last.getOffsetMsgId())
            : new Command("queryMsgById", "-t", topic, "-i", last.getOffsetMsgId());
        byKey.expect(last.getMsgId(), Integer.toString(last.getMessageQueue().getQueueId()));
        byUnique.expect(topic, "key-" + (MESSAGES - 1), last.getMsgId());
        byId.expect(topic, "key-" + (MESSAGES - 1), last.getMsgId());

        awaitProgress(group, topic, 0);
        consumer.shutdown();
        new Command("resetOffsetByTime", "-g", group, "-t", topic, "-s", "0").expect(broker);
        Received again = new Received();
        DefaultMQPushConsumer second = clients.recording(group, topic, "*", again);
        again.awaitExactly(Clients.PATIENCE, Set.copyOf(received.bodies()));
        second.shutdown();

        Command deleteGroup = new Command("deleteSubGroup", "-c", cluster, "-g", group);
        Command deleteTopic = new Command("deleteTopic", "-c", cluster, "-t", topic);
        deleteGroup.expect("delete subscription group [" + group + "] from broker [" + address + "]", "success");
        deleteTopic.expect("delete topic [" + topic + "]", "success");
        Check.that(!new Command("topicList").expect().contains(topic + "\n"), "the deleted topic is still listed");
    }

    /** The online consumer commits every five seconds. */
    private void awaitProgress(String group, String topic, int lag) throws Exception {
        Check.eventually(Clients.PATIENCE, "lag " + lag, () -> {
            String output = new Command("consumerProgress", "-g", group).expect(topic, "Diff Total: ");
            return output.contains("Diff Total: " + lag);
        });
    }

    private static long rows(String output, String broker) {
        return output.lines().filter(line -> line.startsWith(broker)).count();
    }
}
