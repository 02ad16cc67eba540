/** Why a limit of a job is not in force. */
import type { Job } from "@jobworker/client/browser";
import { Button } from "../ui/button.js";
import { Dialog } from "../ui/dialog.js";
import { unenforced } from "../ui/enforcement.js";

/** Lists the limits that are not in force, each with the server's reason. */
export function UnenforcedDialog({ job, onClose }: { job: Job; onClose: () => void }) {
  return (
    <Dialog title="Limits that are not in force" onClose={onClose}>
      <dl class="reasons">
        {unenforced(job).map(({ name, reason }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{reason || "The server gives no reason."}</dd>
          </div>
        ))}
      </dl>
      <div class="dialog-buttons">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}
