/** The dialogs that confirm the stop and the deletion of jobs. */
import type { Job } from "@jobworker/client/browser";
import { useId, useState } from "preact/hooks";
import { client, reportError } from "../app/client.js";
import { notify } from "../app/notices.js";
import { parseDuration } from "../create/quantities.js";
import { Button } from "../ui/button.js";
import { shownCommand } from "../ui/command_line.js";
import { Dialog } from "../ui/dialog.js";
import { forEachJob } from "./for_each_job.js";

const SHOWN_COMMANDS = 5;

interface JobsDialogProps {
  readonly jobs: readonly Job[];
  readonly onClose: () => void;
  /** Called when the calls are made, also if some of them failed. */
  readonly onDone?: () => void;
}

/** Asks for the grace period, and stops the jobs. */
export function StopDialog({ jobs, onClose, onDone }: JobsDialogProps) {
  const [grace, setGrace] = useState("");
  const field = useId();
  const period = parseDuration(grace);
  const stop = (gracePeriodMs: number | undefined) => {
    onClose();
    void runForAll(jobs, "Stopped", (job) => client.stop(job.id, { gracePeriodMs })).then(onDone);
  };
  return (
    <Dialog title={jobs.length === 1 ? "Stop this job?" : `Stop ${jobs.length} jobs?`} onClose={onClose}>
      <Commands jobs={jobs} />
      <form
        class="dialog-form"
        onSubmit={(event) => {
          event.preventDefault();
          stop(period.value);
        }}
      >
        <div class="field">
          <label for={field}>Grace period</label>
          <input
            id={field}
            value={grace}
            placeholder="as in the job"
            aria-invalid={Boolean(period.error)}
            aria-describedby={`${field}-help`}
            onInput={(event) => setGrace(event.currentTarget.value)}
          />
          <span id={`${field}-help`} class={period.error ? "field-error" : "field-help"}>
            {period.error || "Time between the stop signal and SIGKILL, such as 30s."}
          </span>
        </div>
        <div class="dialog-buttons">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="danger" onClick={() => stop(0)}>
            Kill now
          </Button>
          <Button type="submit" kind="primary" disabled={Boolean(period.error)}>
            {jobs.length === 1 ? "Stop the job" : "Stop the jobs"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Asks for confirmation, and deletes the records and the output of ended jobs. */
export function DeleteDialog({ jobs, onClose, onDone }: JobsDialogProps) {
  const remove = () => {
    onClose();
    void runForAll(jobs, "Deleted", (job) => client.delete(job.id)).then(onDone);
  };
  return (
    <Dialog title={jobs.length === 1 ? "Delete this job?" : `Delete ${jobs.length} jobs?`} onClose={onClose}>
      <Commands jobs={jobs} />
      <p>The server deletes the record and the output. You cannot undo this.</p>
      <div class="dialog-buttons">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" icon="trash" onClick={remove}>
          {jobs.length === 1 ? "Delete the job" : "Delete the jobs"}
        </Button>
      </div>
    </Dialog>
  );
}

function Commands({ jobs }: { jobs: readonly Job[] }) {
  const more = jobs.length - SHOWN_COMMANDS;
  return (
    <ul class="dialog-commands">
      {jobs.slice(0, SHOWN_COMMANDS).map((job) => (
        <li key={job.id} class="mono ellipsis">
          {shownCommand(job.command, job.args)}
        </li>
      ))}
      {more > 0 && <li class="muted">and {more} more</li>}
    </ul>
  );
}

async function runForAll(
  jobs: readonly Job[],
  verb: string,
  act: (job: Job) => Promise<unknown>,
): Promise<void> {
  const errors = await forEachJob(jobs, act);
  const done = jobs.length - errors.length;
  if (done > 0) {
    notify(done === 1 ? `${verb} 1 job.` : `${verb} ${done} jobs.`);
  }
  // Many jobs usually fail for the same reason.
  if (errors.length > 0) {
    reportError(errors[0]);
  }
}
