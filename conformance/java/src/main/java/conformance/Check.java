package conformance;

import java.util.Objects;
import java.util.concurrent.Callable;

/** Assertions and bounded waits. */
final class Check {
    private Check() {}

    static void that(boolean condition, String format, Object... args) {
        if (!condition) {
            throw new AssertionError(String.format(format, args));
        }
    }

    static void equal(Object want, Object got, String what) {
        that(Objects.equals(want, got), "%s: want %s, got %s", what, want, got);
    }

    static void contains(String text, String part, String what) {
        that(text.contains(part), "%s lacks \"%s\":%n%s", what, part, text);
    }

    /** Polls until the condition holds; an exception of the condition counts as "not yet" and is shown when time is up. */
    static void eventually(int seconds, String what, Callable<Boolean> condition) throws InterruptedException {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        Exception last = null;
        do {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) {
                last = e;
            }
            Thread.sleep(50);
        } while (System.nanoTime() < deadline);
        throw new AssertionError("not within " + seconds + " s: " + what, last);
    }
}
