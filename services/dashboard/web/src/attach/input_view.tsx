/** The stdin of a job without a terminal. */
import type { Chunk } from "@jobworker/client/browser";
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { client, reportError } from "../app/client.js";
import { Button } from "../ui/button.js";
import { AttachSession, type Output } from "./attach_session.js";
import { RecentText } from "./recent_text.js";
import { SessionBar } from "./session_bar.js";

/** Attaches to the job with this id: its recent output, and a field for lines of input. */
export function InputView({ id }: { id: string }) {
  const text = useSignal("");
  const session = useMemo(() => {
    const output = textOutput((shown) => {
      text.value = shown;
    });
    return new AttachSession(client, id, output);
  }, [id]);
  const attach = (takeOver: boolean) => void session.attach({ takeOver }).catch(reportError);
  useEffect(() => {
    attach(false);
    return () => void session.detach();
  }, [session]);
  return (
    <>
      <SessionBar session={session} onAttach={attach}>
        <Button onClick={() => session.signal("SIGINT")}>Send SIGINT</Button>
        <Button disabled={session.isInputEnded.value} onClick={() => session.endInput()}>
          End the input
        </Button>
      </SessionBar>
      <RecentOutput text={text.value} />
      {session.state.value.kind === "attached" && !session.isInputEnded.value && (
        <LineForm onLine={(line) => session.send(line)} />
      )}
    </>
  );
}

/** The output. It scrolls to its end with each change. */
function RecentOutput({ text }: { text: string }) {
  const element = useRef<HTMLPreElement>(null);
  useLayoutEffect(() => {
    element.current?.scrollTo({ top: element.current.scrollHeight });
  }, [text]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it
    <pre ref={element} class="recent-output panel" role="log" aria-label="Recent output" tabIndex={0}>
      {text}
    </pre>
  );
}

function LineForm({ onLine }: { onLine: (line: Uint8Array) => void }) {
  const line = useSignal("");
  const submit = (event: Event) => {
    event.preventDefault();
    onLine(new TextEncoder().encode(`${line.value}\n`));
    line.value = "";
  };
  return (
    <form class="line-form" onSubmit={submit}>
      <input
        aria-label="Line of input"
        placeholder="A line of input"
        autocomplete="off"
        spellcheck={false}
        value={line}
        onInput={({ currentTarget }) => {
          line.value = currentTarget.value;
        }}
      />
      <Button type="submit" kind="primary">
        Send
      </Button>
    </form>
  );
}

/** Returns an output that shows its text at most once per frame. */
function textOutput(show: (text: string) => void): Output {
  const recent = new RecentText();
  let isScheduled = false;
  return {
    async write({ data, truncated }: Chunk) {
      if (truncated) {
        recent.remark(`${truncated.toOffset - truncated.fromOffset} bytes are missing: ${truncated.reason}`);
      } else {
        recent.add(data);
      }
      if (!isScheduled) {
        isScheduled = true;
        requestAnimationFrame(() => {
          isScheduled = false;
          show(recent.text);
        });
      }
    },
    goLive: () => undefined,
    resized: () => undefined,
  };
}
