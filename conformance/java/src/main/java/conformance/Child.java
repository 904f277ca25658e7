package conformance;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A program of this class path in a process of its own, with its output in a file. */
final class Child {
    private final Process process;
    private final Path output;
    private final String name;

    private Child(Process process, Path output, String name) {
        this.process = process;
        this.output = output;
        this.name = name;
    }

    static Child start(List<String> jvmOptions, String mainClass, String... args) throws IOException {
        Path output = Files.createTempFile("conformance", ".out");
        output.toFile().deleteOnExit();
        List<String> command = new ArrayList<>(List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
            "-cp", System.getProperty("java.class.path")));
        for (String inherited : List.of("user.home", "rocketmq.client.logRoot", "tls.enable", "rocketmq.serialize.type")) {
            if (System.getProperty(inherited) != null) {
                command.add("-D" + inherited + "=" + System.getProperty(inherited));
            }
        }
        command.addAll(jvmOptions);
        command.add(mainClass);
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile()).start();
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        return new Child(process, output, args.length == 0 ? mainClass : args[0]);
    }

    String output() throws IOException {
        return Files.readString(output, StandardCharsets.UTF_8);
    }

    /** Waits for the end, demands status 0, returns the output. */
    String finish() throws Exception {
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError(name + " did not end in 60 s:\n" + output());
        }
        Check.equal(0, process.exitValue(), name + ": exit status; output:\n" + output());
        return output();
    }
}
