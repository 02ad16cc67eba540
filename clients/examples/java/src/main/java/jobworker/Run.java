package jobworker;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import dev.jobworker.v1.CreateJobRequest;
import dev.jobworker.v1.GetJobsStreamRequest;
import dev.jobworker.v1.GetJobsStreamResponse;
import dev.jobworker.v1.Job;
import dev.jobworker.v1.JobServiceGrpc;
import dev.jobworker.v1.JobServiceGrpc.JobServiceBlockingStub;
import dev.jobworker.v1.OutputSource;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

/** Runs a command as a job. Prints the output as it arrives and exits with the job's exit code. */
public final class Run {
    private static final int FAILED = 125;

    private Run() {}

    public static void main(String[] args) throws IOException {
        if (args.length == 0) {
            System.err.println("usage: Run COMMAND [ARG]...");
            System.exit(2);
        }
        System.exit(runCommand(args));
    }

    private static int runCommand(String[] command) throws IOException {
        ManagedChannel channel = Grpc.newChannelBuilder(variable("JOBWORKER_SERVER", "localhost:50051"), credentials()).build();
        try {
            return run(JobServiceGrpc.newBlockingStub(channel), command);
        } catch (StatusRuntimeException failure) {
            System.err.println("error: " + describe(failure));
            return FAILED;
        } finally {
            channel.shutdownNow();
        }
    }

    private static int run(JobServiceBlockingStub service, String[] command) throws IOException {
        CreateJobRequest request = CreateJobRequest.newBuilder()
                .setCommand(command[0])
                .addAllArgs(Arrays.asList(command).subList(1, command.length))
                .setMaxCpu(100)
                .setMaxMemory(64)
                .build();
        Job job = service.withDeadlineAfter(30, TimeUnit.SECONDS).createJob(request).getJob();
        Job ended = follow(service, job.getId());
        int signal = ended.getTermination().getSignal();
        return signal != 0 ? 128 + signal : ended.getExitCode();
    }

    /** Copies the job's output and returns the job from the last message. */
    private static Job follow(JobServiceBlockingStub service, String id) throws IOException {
        GetJobsStreamRequest request = GetJobsStreamRequest.newBuilder().setId(id).build();
        Iterator<GetJobsStreamResponse> messages = service.getJobsStream(request);
        Job result = Job.getDefaultInstance();
        while (messages.hasNext()) {
            GetJobsStreamResponse message = messages.next();
            switch (message.getKindCase()) {
                case PAYLOAD:
                    boolean isError = message.getSource() == OutputSource.OUTPUT_SOURCE_STDERR;
                    write(isError ? System.err : System.out, message.getPayload());
                    break;
                case TRUNCATED:
                    System.err.println("output is missing: " + message.getTruncated().getReason());
                    break;
                case RESULT:
                    result = message.getResult();
                    break;
                default:
                    break;
            }
        }
        return result;
    }

    private static void write(PrintStream stream, ByteString payload) throws IOException {
        payload.writeTo(stream);
        stream.flush();
    }

    /** Returns the credentials in a directory that {@code jobworkerd certs init} created. */
    private static ChannelCredentials credentials() throws IOException {
        String certs = variable("JOBWORKER_CERTS", "/opt/job-worker/certs");
        String role = variable("JOBWORKER_ROLE", "admin");
        return TlsChannelCredentials.newBuilder()
                .trustManager(new File(certs, "ca.pem"))
                .keyManager(new File(certs, role + ".pem"), new File(certs, role + "-key.pem"))
                .build();
    }

    /** Returns the server's message and reason, or the status and its causes. */
    private static String describe(StatusRuntimeException failure) throws InvalidProtocolBufferException {
        com.google.rpc.Status status = StatusProto.fromThrowable(failure);
        for (com.google.protobuf.Any detail : status.getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                return status.getMessage() + " (" + detail.unpack(ErrorInfo.class).getReason() + ")";
            }
        }
        StringBuilder text = new StringBuilder(failure.getMessage());
        for (Throwable cause = failure.getCause(); cause != null; cause = cause.getCause()) {
            text.append(": ").append(cause);
        }
        return text.toString();
    }

    private static String variable(String name, String fallback) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? fallback : value;
    }
}
