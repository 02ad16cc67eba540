/** What a user can do with the selected jobs. */
import type { Job } from "@jobworker/client/browser";
import { useState } from "preact/hooks";
import { Button } from "../ui/button.js";
import { isFinal } from "../ui/status.js";
import type { Selection } from "./selection.js";
import { DeleteDialog, StopDialog } from "./stop_dialog.js";

interface SelectionBarProps {
  readonly jobs: ReadonlyMap<string, Job>;
  readonly selection: Selection;
}

/** Buttons for the selected jobs. Nothing if no job is selected. */
export function SelectionBar({ jobs, selection }: SelectionBarProps) {
  const [open, setOpen] = useState<"stop" | "delete">();
  const selected = [...selection.ids.value].flatMap((id) => jobs.get(id) ?? []);
  const live = selected.filter((job) => !isFinal(job));
  const ended = selected.filter(isFinal);
  if (selected.length === 0) {
    return null;
  }
  const dialog = {
    onClose: () => setOpen(undefined),
    onDone: () => selection.clear(),
  };
  return (
    <div class="selection-bar panel" role="toolbar" aria-label="Selected jobs">
      <span>{selected.length} selected</span>
      <Button kind="danger" icon="square" disabled={live.length === 0} onClick={() => setOpen("stop")}>
        Stop {live.length > 0 && live.length}
      </Button>
      <Button icon="trash" disabled={ended.length === 0} onClick={() => setOpen("delete")}>
        Delete {ended.length > 0 && ended.length}
      </Button>
      <Button kind="quiet" onClick={() => selection.clear()}>
        Clear selection
      </Button>
      {open === "stop" && <StopDialog jobs={live} {...dialog} />}
      {open === "delete" && <DeleteDialog jobs={ended} {...dialog} />}
    </div>
  );
}
