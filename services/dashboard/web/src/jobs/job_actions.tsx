/** What a user can do with one job. */
import type { Job } from "@jobworker/client/browser";
import { useState } from "preact/hooks";
import { navigate } from "../app/router.js";
import { isAdmin } from "../app/session.js";
import { Button, ButtonLink } from "../ui/button.js";
import { isFinal } from "../ui/status.js";
import { DeleteDialog, StopDialog } from "./stop_dialog.js";

/** Buttons for the page of a job. A viewer gets none. */
export function JobActions({ job }: { job: Job }) {
  const [open, setOpen] = useState<"stop" | "delete">();
  if (!isAdmin.value) {
    return null;
  }
  const close = () => setOpen(undefined);
  return (
    <>
      <ButtonLink href={`/create?clone=${job.id}`} icon="copy">
        Clone
      </ButtonLink>
      {isFinal(job) ? (
        <Button icon="trash" onClick={() => setOpen("delete")}>
          Delete
        </Button>
      ) : (
        <Button kind="danger" icon="square" onClick={() => setOpen("stop")}>
          Stop
        </Button>
      )}
      {open === "stop" && <StopDialog jobs={[job]} onClose={close} />}
      {open === "delete" && <DeleteDialog jobs={[job]} onClose={close} onDone={() => navigate("/")} />}
    </>
  );
}
