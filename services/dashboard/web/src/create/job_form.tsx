/** The form that creates a job. */
import { JobNetwork, JobWorkerError, LimitsPolicy } from "@jobworker/client/browser";
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { Link } from "../app/link.js";
import { navigate } from "../app/router.js";
import { Button } from "../ui/button.js";
import { CopyButton } from "../ui/copy_button.js";
import { errorText } from "../ui/error_text.js";
import { printableLines } from "../ui/printable.js";
import { cliCommand } from "./cli_command.js";
import { type Draft, type DraftErrors, placeViolations, toRequest } from "./draft.js";
import { ChoiceField, type FormState, TextField } from "./form_fields.js";
import { splitWords } from "./split_words.js";
import "./create.css";

/** The form, filled in with `initial`. Shows the job that it creates. */
export function JobForm({ initial }: { initial: Draft }) {
  const element = useRef<HTMLFormElement>(null);
  const [draft, setDraft] = useState(initial);
  const [errors, setErrors] = useState<DraftErrors>({});
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);
  const form: FormState = {
    draft,
    errors,
    change: (changes) => {
      setDraft((previous) => ({ ...previous, ...changes }));
      setErrors((previous) => without(previous, Object.keys(changes)));
    },
  };

  const showErrors = (found: DraftErrors, text: string) => {
    setErrors(found);
    setFailure(text);
    requestAnimationFrame(() => {
      element.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
    });
  };
  const submit = async () => {
    const { request, errors: found } = toRequest(draft);
    if (Object.keys(found).length > 0) {
      showErrors(found, "");
      return;
    }
    setBusy(true);
    try {
      const job = await client.create(request);
      navigate(`/jobs/${job.id}`);
    } catch (error) {
      if (!endsSession(error)) {
        const { errors: refused, others } = placeViolations(
          error instanceof JobWorkerError ? error.fields : [],
        );
        const isPlaced = Object.keys(refused).length > 0 && others.length === 0;
        showErrors(refused, isPlaced ? "" : [errorText(error), ...others].join(" "));
      }
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      ref={element}
      class="job-form"
      aria-label="New job"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          element.current?.requestSubmit();
        }
      }}
    >
      <CommandSection form={form} />
      <LimitsSection form={form} />
      <LifeSection form={form} />
      <AsCommand draft={draft} />
      <div class="form-end">
        {failure && (
          <p class="message bad" role="alert">
            {failure}
          </p>
        )}
        {Object.keys(errors).length > 0 && (
          <p class="field-error" role="alert">
            Correct the marked fields.
          </p>
        )}
        <span class="field-help form-shortcut">
          <kbd>Ctrl</kbd> <kbd>Enter</kbd>
        </span>
        <Link href="/" class="button">
          Cancel
        </Link>
        <Button type="submit" kind="primary" disabled={busy}>
          {busy ? "Creating…" : "Create job"}
        </Button>
      </div>
    </form>
  );
}

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

function CommandSection({ form }: SectionProps) {
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

/** The same job as a command, if the form has no mistakes. */
function AsCommand({ draft }: { draft: Draft }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="panel as-command" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>The same job as a command</summary>
      {open && <Command draft={draft} />}
    </details>
  );
}

function Command({ draft }: { draft: Draft }) {
  const { request, errors } = toRequest(draft);
  if (Object.keys(errors).length > 0) {
    return <p class="muted">Enter a command, and correct the fields that have errors.</p>;
  }
  const command = cliCommand(request);
  return (
    <div>
      <pre class="mono">{command}</pre>
      <CopyButton text={command} label="Copy the command" />
    </div>
  );
}

function LimitsSection({ form }: SectionProps) {
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

function LifeSection({ form }: SectionProps) {
  return (
    <Section title="Start and end">
      <div class="field">
        <label class="check-label">
          <input
            type="checkbox"
            name="queue"
            checked={form.draft.queue}
            onChange={(event) => form.change({ queue: event.currentTarget.checked })}
          />
          Wait in the queue
        </label>
        <span class="field-help">If the server has no room for the job.</span>
      </div>
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

function without(errors: DraftErrors, names: readonly string[]): DraftErrors {
  return Object.fromEntries(Object.entries(errors).filter(([name]) => !names.includes(name)));
}
