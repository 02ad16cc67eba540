/** The form for going to a line or a time. */
import { useId, useState } from "preact/hooks";
import { Button } from "../ui/button.js";
import type { LogModel } from "./log_model.js";

export function JumpForm({ model }: { model: LogModel }) {
  const { firstTime } = model.state.value;
  const [time, setTime] = useState(() => localTime(firstTime || Date.now()));
  const [line, setLine] = useState("1");
  const id = useId();
  return (
    <div class="log-jump">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void model.showLine(Number(line));
        }}
      >
        <label for={`${id}-line`}>Line</label>
        <input
          id={`${id}-line`}
          type="number"
          min={1}
          required
          value={line}
          onInput={(event) => setLine(event.currentTarget.value)}
        />
        <Button type="submit">Go to the line</Button>
      </form>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void model.showTime(new Date(time).getTime());
        }}
      >
        <label for={`${id}-time`}>Time</label>
        <input
          id={`${id}-time`}
          type="datetime-local"
          step={1}
          required
          value={time}
          onInput={(event) => setTime(event.currentTarget.value)}
        />
        <Button type="submit">Go to the time</Button>
      </form>
    </div>
  );
}

/** Returns a time as the value of a field: in the local zone, in whole seconds. */
function localTime(time: number): string {
  const zone = new Date(time).getTimezoneOffset() * 60_000;
  return new Date(time - zone).toISOString().slice(0, 19);
}
