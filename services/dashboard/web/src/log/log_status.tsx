/** The line below a log: its size, the state of the stream, and the end of the job. */
import { Button } from "../ui/button.js";
import { formatBytes } from "../ui/format.js";
import type { LogModel } from "./log_model.js";

export function LogStatus({ model }: { model: LogModel }) {
  const { lines, end } = model.state.value;
  const count = lines[model.filter.value];
  return (
    <div class="log-status small">
      <span class="muted numeric">
        {count.toLocaleString("en")} {count === 1 ? "line" : "lines"}, {formatBytes(end)}
      </span>
      <StreamState model={model} />
    </div>
  );
}

function StreamState({ model }: { model: LogModel }) {
  const { phase, outcome, error } = model.state.value;
  return (
    <span class="log-state" role="status" aria-label="State of the log">
      {phase === "live" && "Live"}
      {phase === "reconnecting" && "Reconnecting…"}
      {phase === "ended" && (
        <span class={outcome && !outcome.succeeded ? "log-bad" : "log-ok"}>
          {outcome?.text ?? "End of the log."}
        </span>
      )}
      {phase === "failed" && (
        <>
          <span class="log-bad">{error}</span>
          <Button onClick={() => model.retry()}>Connect again</Button>
        </>
      )}
    </span>
  );
}
