/** The controls of a log view. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../ui/button.js";
import { formatBytes } from "../ui/format.js";
import { JumpForm } from "./jump_form.js";
import type { LogModel } from "./log_model.js";
import { ONLY_STDERR, ONLY_STDOUT } from "./source.js";

export function LogToolbar({ model }: { model: LogModel }) {
  const [jumps, setJumps] = useState(false);
  const filter = model.filter.value;
  return (
    <>
      <div class="log-toolbar" role="toolbar" aria-label="Log view">
        <Toggle
          isOn={model.isFollowing.value}
          onClick={() => model.toggleFollow()}
          help="Follow the output (f)"
        >
          Follow
        </Toggle>
        <Toggle isOn={model.wraps.value} onClick={() => model.toggleWrap()} help="Wrap long lines (w)">
          Wrap
        </Toggle>
        <Toggle isOn={model.showsTimes.value} onClick={() => model.toggleTimes()} help="Show timestamps (t)">
          Timestamps
        </Toggle>
        <Toggle
          isOn={filter !== ONLY_STDERR}
          onClick={() => model.toggleSource(ONLY_STDOUT)}
          help="Show the output of stdout"
        >
          stdout
        </Toggle>
        <Toggle
          isOn={filter !== ONLY_STDOUT}
          onClick={() => model.toggleSource(ONLY_STDERR)}
          help="Show the output of stderr"
        >
          stderr
        </Toggle>
        <Button kind="quiet" icon="up" onClick={() => model.showFirst()}>
          First line
        </Button>
        <Button kind="quiet" icon="down" onClick={() => model.showLast()}>
          Last line
        </Button>
        <button
          type="button"
          class="button quiet"
          aria-expanded={jumps}
          title="Go to a line or a time"
          onClick={() => setJumps(!jumps)}
        >
          Go to…
        </button>
        <Downloads model={model} />
      </div>
      {jumps && <JumpForm model={model} />}
    </>
  );
}

interface ToggleProps {
  readonly isOn: boolean;
  readonly onClick: () => void;
  readonly help: string;
  readonly children: ComponentChildren;
}

/** A button that stays on or off. */
export function Toggle({ isOn, onClick, help, children }: ToggleProps) {
  return (
    <button type="button" class="button quiet log-toggle" aria-pressed={isOn} title={help} onClick={onClick}>
      {children}
    </button>
  );
}

function Downloads({ model }: { model: LogModel }) {
  const bytes = model.downloaded.value;
  if (bytes !== undefined) {
    return (
      <span class="log-progress">
        <span class="muted small numeric">{formatBytes(bytes)}</span>
        <Button kind="quiet" icon="close" onClick={() => model.cancelDownload()}>
          Cancel the download
        </Button>
      </span>
    );
  }
  const choices = [
    [undefined, "Download the whole log"],
    ["stdout", "Download stdout"],
    ["stderr", "Download stderr"],
  ] as const;
  return (
    <details class="log-menu">
      <summary class="button quiet">Download</summary>
      <div class="log-menu-items panel">
        {choices.map(([source, label]) => (
          <Button key={label} kind="quiet" onClick={() => void model.download(source)}>
            {label}
          </Button>
        ))}
      </div>
    </details>
  );
}
