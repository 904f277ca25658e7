import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/** The quick start that everybody copies: it must work unchanged against a server on localhost:9876. */
public class Producer {
    public static void main(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("my-producer-group");
        producer.setNamesrvAddr("localhost:9876");
        producer.start();

        Message msg = new Message("my-topic", "my-tag", "my-message-body".getBytes());
        SendResult sendResult = producer.send(msg);
        System.out.println("Send result: " + sendResult);

        producer.shutdown();
    }
}
