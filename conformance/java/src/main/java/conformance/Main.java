package conformance;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.apache.rocketmq.common.MQVersion;

/**
 * Entry point: {@code Main clients|seed|mqadmin [SCENARIO ...]}. The server is VARVE_NAMESRV (127.0.0.1:9876).
 * Ends with status 0 if every scenario passed.
 */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
        String namesrv = System.getenv().getOrDefault("VARVE_NAMESRV", "127.0.0.1:9876");
        Suite suite = new Suite(namesrv);
        int parallel = 8;
        switch (args[0]) {
            case "clients" -> {
                SendScenarios.addTo(suite);
                PushScenarios.addTo(suite);
                RetryScenarios.addTo(suite);
                PullScenarios.addTo(suite);
                QueryScenarios.addTo(suite);
            }
            case "seed" -> {
                suite.add("seed", new SeedScenario());
                parallel = 1;
            }
            case "mqadmin" -> {
                suite.add("mqadmin", new MqadminScenario());
                parallel = 1;
            }
            default -> throw new IllegalArgumentException("unknown suite " + args[0]);
        }
        Set<String> only = new HashSet<>(Arrays.asList(args).subList(1, args.length));
        boolean passed = suite.run(parallel, name -> only.isEmpty() || only.contains(name), title(args[0], namesrv));
        System.exit(passed ? 0 : 1);
    }

    private static String title(String suite, String namesrv) {
        return String.format("%s, client %s, %s header, %s, name server %s", suite,
            MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION),
            System.getProperty("rocketmq.serialize.type", "JSON"),
            Boolean.getBoolean("tls.enable") ? "TLS" : "plaintext", namesrv);
    }
}
