/** The terminal of a job. */
import { useEffect, useRef, useState } from "preact/hooks";
import { client, reportError } from "../app/client.js";
import { AttachSession } from "./attach_session.js";
import { SessionBar } from "./session_bar.js";
import type { PageTerminal } from "./terminal.js";

interface Running {
  readonly session: AttachSession;
  readonly terminal: PageTerminal;
}

/** Attaches to the job with this id, and shows its terminal. */
export function TerminalView({ id }: { id: string }) {
  const screen = useRef<HTMLDivElement>(null);
  const detach = useRef<HTMLButtonElement>(null);
  const [running, setRunning] = useState<Running>();

  useEffect(() => {
    let current: Running | undefined;
    let isLeft = false;
    const start = async () => {
      const { PageTerminal } = await import("./terminal.js");
      if (isLeft || !screen.current) {
        return;
      }
      const terminal = new PageTerminal(screen.current, {
        onInput: (data) => session.send(data),
        onResize: (size) => session.resize(size),
        onLeave: () => detach.current?.focus(),
      });
      const session = new AttachSession(client, id, terminal);
      current = { session, terminal };
      setRunning(current);
      await attach(current, false);
    };
    start().catch(reportError);
    return () => {
      isLeft = true;
      void current?.session.detach();
      current?.terminal[Symbol.dispose]();
    };
  }, [id]);

  return (
    <>
      {running && (
        <SessionBar
          session={running.session}
          detachRef={detach}
          onAttach={(takeOver) => void attach(running, takeOver).catch(reportError)}
        >
          <span class="muted small session-hint">
            <kbd>Ctrl</kbd> <kbd>Alt</kbd> <kbd>X</kbd> leaves the terminal
          </span>
        </SessionBar>
      )}
      <section ref={screen} class="terminal-screen panel" aria-label="Terminal" />
    </>
  );
}

async function attach({ session, terminal }: Running, takeOver: boolean): Promise<void> {
  session.resize(terminal.size);
  await session.attach({ takeOver, redraw: true });
  terminal.freeze();
}
