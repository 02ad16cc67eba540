/** The state of a session, and the buttons that change it. */
import type { ComponentChildren, Ref } from "preact";
import { Button } from "../ui/button.js";
import type { AttachSession, SessionState } from "./attach_session.js";

interface SessionBarProps {
  readonly session: AttachSession;
  readonly onAttach: (takeOver: boolean) => void;
  readonly detachRef?: Ref<HTMLButtonElement>;
  /** More buttons for an attached user. */
  readonly children?: ComponentChildren;
}

/** The bar above the terminal or the output. */
export function SessionBar({ session, onAttach, detachRef, children }: SessionBarProps) {
  const state = session.state.value;
  return (
    <div class="session-bar">
      <span class="session-state" role="status">
        {describe(state)}
      </span>
      {state.kind === "attached" && (
        <>
          {children}
          <Button buttonRef={detachRef ?? null} onClick={() => void session.detach()}>
            Detach
          </Button>
        </>
      )}
      {state.kind === "in-use" && (
        <Button kind="danger" onClick={() => onAttach(true)}>
          Take over
        </Button>
      )}
      {(state.kind === "detached" || state.kind === "failed") && (
        <Button kind="primary" onClick={() => onAttach(false)}>
          Attach
        </Button>
      )}
    </div>
  );
}

function describe(state: SessionState): string {
  switch (state.kind) {
    case "attaching":
      return "Attaching…";
    case "attached":
      return "Attached";
    case "detached":
      return "Detached. The job keeps running.";
    case "in-use":
      return `Another client feeds the job: ${state.message}`;
    case "failed":
      return `Not attached: ${state.message}`;
    case "ended":
      return `The job has ended. ${state.job.termination?.message ?? ""}`;
  }
}
