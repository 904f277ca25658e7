package conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Predicate;

/** Runs scenarios, several at a time, and prints one line for each. */
final class Suite {
    /** One scenario: throws anything to fail. */
    interface Scenario {
        void run(Clients clients) throws Exception;
    }

    private record Named(String name, Scenario scenario) {}

    private final List<Named> scenarios = new ArrayList<>();
    private final String namesrv;
    private final String run = Long.toString(System.currentTimeMillis(), 36);

    Suite(String namesrv) {
        this.namesrv = namesrv;
    }

    void add(String name, Scenario scenario) {
        scenarios.add(new Named(name, scenario));
    }

    /** Returns true if all scenarios passed. */
    boolean run(int parallel, Predicate<String> wanted, String title) throws Exception {
        long start = System.nanoTime();
        List<Callable<Boolean>> calls = new ArrayList<>();
        for (Named named : scenarios) {
            if (wanted.test(named.name)) {
                calls.add(() -> runOne(named));
            }
        }
        int failures = 0;
        ExecutorService pool = Executors.newFixedThreadPool(parallel);
        for (Future<Boolean> passed : pool.invokeAll(calls)) {
            failures += passed.get() ? 0 : 1;
        }
        pool.shutdown();
        System.out.printf(Locale.ROOT, "Tests run: %d, Failures: %d, Time elapsed: %.1f s - %s%n",
            calls.size(), failures, seconds(start), title);
        return failures == 0 && !calls.isEmpty();
    }

    private boolean runOne(Named named) {
        long start = System.nanoTime();
        try (Clients clients = new Clients(namesrv, run, named.name)) {
            named.scenario.run(clients);
            System.out.printf(Locale.ROOT, "PASS  %-24s %6.1f s%n", named.name, seconds(start));
            return true;
        } catch (Throwable e) {
            System.out.printf(Locale.ROOT, "FAIL  %-24s %6.1f s  %s%n", named.name, seconds(start), e);
            e.printStackTrace();
            return false;
        }
    }

    private static double seconds(long start) {
        return (System.nanoTime() - start) / 1e9;
    }
}
