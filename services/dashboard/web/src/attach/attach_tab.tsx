/** The tab in which users type into a job. */
import { type Job, JobStatus } from "@jobworker/client/browser";
import { isAdmin } from "../app/session.js";
import { InputView } from "./input_view.js";
import { TerminalView } from "./terminal_view.js";
import "./attach.css";

/** The tab "Attach": a terminal, or a field for input if the job has no terminal. */
export function AttachTab({ job }: { job: Job }) {
  const obstacle = obstacleOf(job);
  if (obstacle) {
    return <p class="attach-obstacle muted">{obstacle}</p>;
  }
  return job.terminal ? <TerminalView id={job.id} /> : <InputView id={job.id} />;
}

/** Returns why the user cannot attach now, or "". The view stays when the job ends, with its last output. */
function obstacleOf(job: Job): string {
  if (!isAdmin.value) {
    return "Only an admin can attach to jobs. The log shows the output.";
  }
  return job.status === JobStatus.QUEUED ? "The job has not started yet." : "";
}
