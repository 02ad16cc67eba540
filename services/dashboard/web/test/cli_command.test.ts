import assert from "node:assert/strict";
import { test } from "node:test";
import { JobNetwork, LimitsPolicy } from "@jobworker/client/browser";
import { cliCommand } from "../src/create/cli_command.js";
import { EMPTY_DRAFT, toRequest } from "../src/create/draft.js";

function commandOf(changes: Partial<typeof EMPTY_DRAFT>): string {
  const { request, errors } = toRequest({ ...EMPTY_DRAFT, queue: false, command: "true", ...changes });
  assert.deepEqual(errors, {});
  return cliCommand(request);
}

test("fields that are not set are not in the command", () => {
  assert.equal(commandOf({}), "jobworker run true");
});

test("each field has its option, and values are quoted for a shell", () => {
  const command = commandOf({
    command: "sh -c 'echo $A'",
    env: "A=1 2",
    labels: "team=infra",
    maxCpu: "1.5c",
    maxMemory: "1 GiB",
    maxScratch: "64",
    timeout: "1h 30m",
    stopGracePeriod: "250ms",
    queue: true,
    queueTimeout: "2m",
    limitsPolicy: LimitsPolicy.STRICT,
    network: JobNetwork.NONE,
    priority: "-5",
    queueName: "batch",
    nodeSelector: "zone=a\ngpu=",
    retryOnLost: true,
    input: "terminal",
  });
  assert.equal(
    command,
    "jobworker run --max-cpu=150 --max-memory=1024 --scratch=64 '--env=A=1 2' --label=team=infra " +
      "--timeout=1h30m --stop-grace-period=250ms --strict --network=none --queue-timeout=2m --priority=-5 " +
      "--queue-name=batch --node-selector=zone=a --node-selector=gpu= --retry-on-lost -it " +
      "sh -c 'echo $A'",
  );
});
