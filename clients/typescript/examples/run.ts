/**
 * Runs a command as a job. Prints the output as it arrives and exits with the job's exit code.
 *
 *     JOBWORKER_SERVER=localhost:50051 node dist/examples/run.js sh -c 'uname -a; exit 3'
 */
import { once } from "node:events";
import { Client, type Job, JobWorkerError } from "@jobworker/client";

async function run(client: Client, command: string, args: string[]): Promise<Job> {
  const job = await client.create({ command, args, maxCpu: 100, maxMemory: 64 });
  const stream = client.stream(job.id);
  for await (const chunk of stream) {
    if (chunk.truncated) {
      console.error(
        `bytes ${chunk.truncated.fromOffset}-${chunk.truncated.toOffset}: ${chunk.truncated.reason}`,
      );
    }
    const sink = chunk.source === "stderr" ? process.stderr : process.stdout;
    if (!sink.write(chunk.data)) {
      await once(sink, "drain");
    }
  }
  return await stream.result();
}

const [command, ...args] = process.argv.slice(2);
if (!command) {
  console.error("usage: node run.js COMMAND [ARG]...");
  process.exit(2);
}
using client = Client.fromEnv();
try {
  const { exitCode, termination } = await run(client, command, args);
  process.exitCode = exitCode ?? 128 + (termination?.signal ?? 0);
} catch (error) {
  if (!(error instanceof JobWorkerError)) {
    throw error;
  }
  console.error(`${error.code} ${error.reason}: ${error.message}`);
  process.exitCode = 125;
}
