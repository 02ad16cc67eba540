/** The form as a command line. */
import { useState } from "preact/hooks";
import { CopyButton } from "../ui/copy_button.js";
import { cliCommand } from "./cli_command.js";
import { type Draft, toRequest } from "./draft.js";

/** The same job as a command, if the form has no mistakes. */
export function AsCommand({ draft }: { draft: Draft }) {
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
