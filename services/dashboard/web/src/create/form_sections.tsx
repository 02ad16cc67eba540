/** The sections of the form that creates a job. */
import { JobNetwork, LimitsPolicy } from "@jobworker/client/browser";
import type { ComponentChildren } from "preact";
import { printableLines } from "../ui/printable.js";
import { CheckField, ChoiceField, type FormState, TextField } from "./form_fields.js";
import { splitWords } from "./split_words.js";

interface SectionProps {
  readonly form: FormState;
}

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="panel form-section">
      <h2>{title}</h2>
      <div class="form-grid">{children}</div>
    </section>
  );
}

/** The command and its surroundings. */
export function CommandSection({ form }: SectionProps) {
  return (
    <Section title="Program">
      <TextField
        form={form}
        name="command"
        label="Command"
        class="wide"
        rows={2}
        mono
        placeholder={`bash -c 'make test | tee log'`}
        help="Quote words as in a shell. The server runs the program itself: for pipes and variables, run a shell."
      />
      <Argv line={form.draft.command} />
      <TextField
        form={form}
        name="workingDirectory"
        label="Working directory"
        mono
        placeholder="private directory of the job"
      />
      <ChoiceField
        form={form}
        name="input"
        label="Input"
        choices={[
          { value: "none", text: "None (/dev/null)" },
          { value: "terminal", text: "Terminal" },
          { value: "open", text: "Pipe, open until a client closes it" },
          { value: "once", text: "Pipe, closed when its client leaves" },
        ]}
      />
      <TextField
        form={form}
        name="env"
        label="Environment variables"
        rows={3}
        mono
        placeholder="NAME=VALUE"
        help="One per line. The server does not show them to anyone."
      />
      <TextField
        form={form}
        name="labels"
        label="Labels"
        rows={3}
        mono
        placeholder="key=value"
        help="One per line."
      />
    </Section>
  );
}

/** The words that the server gets, so that a mistake with quotes is visible. */
function Argv({ line }: { line: string }) {
  const { words, error } = splitWords(line);
  if (words.length === 0) {
    return null;
  }
  return (
    <div class="argv wide">
      <span class="field-help">Arguments</span>
      <ol aria-label="Arguments">
        {words.map((word, index) => (
          <li key={index} class="mono">
            {printableLines(word) || "(empty)"}
          </li>
        ))}
      </ol>
      {error && <span class="field-help">{error}</span>}
    </div>
  );
}

/** The limits, and what happens if the host lacks one. */
export function LimitsSection({ form }: SectionProps) {
  return (
    <Section title="Limits">
      <TextField
        form={form}
        name="maxCpu"
        label="CPU limit"
        placeholder="server default"
        help="Of one core: 150%. Or in cores: 1.5c."
      />
      <TextField
        form={form}
        name="maxMemory"
        label="Memory limit"
        placeholder="server default"
        help="Such as 512 MiB. Without a unit: MiB."
      />
      <TextField form={form} name="maxPids" label="Process limit" placeholder="server default" />
      <TextField
        form={form}
        name="maxScratch"
        label="Scratch limit"
        placeholder="server default"
        help="Size of the private directories."
      />
      <TextField
        form={form}
        name="maxIoBps"
        label="I/O limit"
        placeholder="unlimited"
        help="Per second and direction, such as 20 MiB."
      />
      <TextField
        form={form}
        name="maxIoIops"
        label="I/O operations limit"
        placeholder="unlimited"
        help="Per second and direction."
      />
      <TextField form={form} name="cpuWeight" label="CPU weight" placeholder="100" help="1 to 10,000." />
      <TextField form={form} name="cpuSet" label="Cores" placeholder="all" help="Such as 0-1,3." />
      <ChoiceField
        form={form}
        name="limitsPolicy"
        label="If a limit is unavailable"
        choices={[
          { value: LimitsPolicy.UNSPECIFIED, text: "Server default" },
          { value: LimitsPolicy.BEST_EFFORT, text: "Run without it" },
          { value: LimitsPolicy.STRICT, text: "Do not run" },
        ]}
      />
      <ChoiceField
        form={form}
        name="network"
        label="Network"
        choices={[
          { value: JobNetwork.UNSPECIFIED, text: "Server default" },
          { value: JobNetwork.HOST, text: "Network of the host" },
          { value: JobNetwork.NONE, text: "None" },
        ]}
      />
    </Section>
  );
}

/** The place in a cluster. */
export function ClusterSection({ form }: SectionProps) {
  return (
    <Section title="Cluster">
      <TextField form={form} name="queueName" label="Queue" placeholder="default queue" />
      <TextField
        form={form}
        name="nodeSelector"
        label="Node selector"
        rows={3}
        mono
        placeholder="key=value"
        help="Labels of the nodes that can run the job. One per line."
      />
      <CheckField
        form={form}
        name="retryOnLost"
        label="Start again if lost"
        help="If the cluster loses the node or evicts the job. Only for commands that can run twice."
      />
    </Section>
  );
}

/** The queue, the timeout and the stop. */
export function LifeSection({ form, isGateway }: SectionProps & { readonly isGateway: boolean }) {
  return (
    <Section title="Start and end">
      {isGateway ? (
        <CheckField
          form={form}
          name="queue"
          label="Limit the time in the queue"
          help="Each job of a cluster starts in the queue."
        />
      ) : (
        <CheckField
          form={form}
          name="queue"
          label="Wait in the queue"
          help="If the server has no room for the job."
        />
      )}
      {form.draft.queue && (
        <TextField
          form={form}
          name="queueTimeout"
          label="Queue timeout"
          help="The job fails after this time."
        />
      )}
      <TextField
        form={form}
        name="priority"
        label="Priority"
        placeholder="0"
        help="-100 to 100. Higher starts first."
      />
      <TextField
        form={form}
        name="timeout"
        label="Timeout"
        placeholder="none"
        help="Such as 90s, 15m or 1h 30m."
      />
      <TextField form={form} name="stopSignal" label="Stop signal" placeholder="SIGTERM" />
      <TextField
        form={form}
        name="stopGracePeriod"
        label="Grace period"
        placeholder="server default"
        help="Time between the stop signal and SIGKILL."
      />
    </Section>
  );
}
