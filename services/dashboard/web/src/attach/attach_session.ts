/** One user at the terminal or the stdin of a job. */
import {
  type Attachment,
  type AttachOptions,
  type BrowserClient,
  type Chunk,
  type Job,
  JobWorkerError,
  type TerminalSize,
} from "@jobworker/client/browser";
import { signal } from "@preact/signals";

// How much of the earlier output is shown.
const EARLIER_BYTES = 1024 * 1024;

// How long a detach waits for the server to accept the input before it. The server can be away.
const ACCEPT_TIMEOUT_MS = 1_000;

type Client = Pick<BrowserClient, "get" | "attach">;

/** The progress of a session. A session is `attached` when the earlier output is shown. */
export type SessionState =
  | { readonly kind: "attaching" | "attached" | "detached" }
  /** Another client feeds the stdin of the job. */
  | { readonly kind: "in-use"; readonly message: string }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "ended"; readonly job: Job };

/** Shows the output of a job. */
export interface Output {
  /** Resolves when the chunk is processed. */
  write(chunk: Chunk): Promise<void>;
  /** Called when all earlier output is shown: from now on, the answers of a terminal belong to the job. */
  goLive(): void;
  /** Called after a change of the size of the job's terminal. */
  resized(size: TerminalSize): void;
}

/** Attaches to a job, and passes output and input on until the user detaches. */
export class AttachSession {
  readonly state = signal<SessionState>({ kind: "detached" });
  /** Whether the user has ended the input. */
  readonly isInputEnded = signal(false);
  readonly #client: Client;
  readonly #id: string;
  readonly #output: Output;
  #attachment: Attachment | undefined;
  // Ends the request before the attachment.
  #leaving = new AbortController();
  #size: TerminalSize | undefined;
  // Input that waits until the server has accepted the input before it.
  readonly #unsent: Uint8Array[] = [];
  #isSending = false;
  #sending: Promise<void> = Promise.resolve();
  // The offset after the last byte that was shown.
  #offset: number | undefined;

  constructor(client: Client, id: string, output: Output) {
    this.#client = client;
    this.#id = id;
    this.#output = output;
  }

  /** Attaches until the end of the job, or until `detach`. The output continues where an earlier call has ended. */
  async attach(options: Pick<AttachOptions, "takeOver" | "redraw"> = {}): Promise<void> {
    this.state.value = { kind: "attaching" };
    const leaving = new AbortController();
    this.#leaving = leaving;
    try {
      const { logSize } = await this.#client.get(this.#id, { signal: leaving.signal });
      if (leaving.signal.aborted) {
        this.state.value = { kind: "detached" };
        return;
      }
      await this.#copy(this.#open(options, Number(logSize)), Number(logSize));
    } catch (error) {
      this.state.value = failureOf(error);
    } finally {
      this.#attachment = undefined;
    }
  }

  /** Ends the attachment. The job keeps running, and gets the input that was sent before. */
  async detach(): Promise<void> {
    this.#leaving.abort();
    const attachment = this.#attachment;
    await settledWithin(this.#sending, ACCEPT_TIMEOUT_MS);
    await attachment?.detach();
  }

  /** Sends input. It is lost if the session is not attached. */
  send(data: Uint8Array): void {
    const attachment = this.#attachment;
    if (!attachment) {
      return;
    }
    this.#unsent.push(data);
    if (!this.#isSending) {
      this.#sending = this.#flush(attachment);
    }
  }

  /** Ends the input, after the input before it. */
  endInput(): void {
    this.isInputEnded.value = true;
    const attachment = this.#attachment;
    void this.#sending.then(() => attachment?.end()).catch(() => undefined);
  }

  /** Sends a signal, such as SIGINT. */
  signal(name: string): void {
    this.#attachment?.signal(name);
  }

  /** Reports the size of the terminal in characters, also for later attachments. */
  resize(size: TerminalSize): void {
    this.#size = size;
    this.#attachment?.resize(size.columns ?? 0, size.rows ?? 0);
  }

  /** Attaches at the end of the shown output. `end` is the size of the log. */
  #open(options: AttachOptions, end: number): Attachment {
    this.#offset ??= Math.max(0, end - EARLIER_BYTES);
    const size = this.#size ? { size: this.#size } : {};
    const attachment = this.#client.attach(this.#id, { ...options, ...size, offset: this.#offset });
    this.#attachment = attachment;
    return attachment;
  }

  /** Sends the input. Keys that are pressed while the server accepts a piece form the next piece. */
  async #flush(attachment: Attachment): Promise<void> {
    this.#isSending = true;
    try {
      while (this.#unsent.length > 0) {
        await attachment.write(joined(this.#unsent.splice(0)));
      }
    } catch {
      // The output reports the errors of the input.
      this.#unsent.length = 0;
    } finally {
      this.#isSending = false;
    }
  }

  /** Copies the output. `end` is the size of the log at the start. */
  async #copy(attachment: Attachment, end: number): Promise<void> {
    let isLive = false;
    const goLive = (): void => {
      if (!isLive && attachment.offset >= end) {
        isLive = true;
        this.state.value = { kind: "attached" };
        this.#output.goLive();
      }
    };
    goLive();
    let size = attachment.terminalSize;
    for await (const chunk of attachment) {
      if (attachment.terminalSize && attachment.terminalSize !== size) {
        size = attachment.terminalSize;
        this.#output.resized(size);
      }
      await this.#output.write(chunk);
      this.#offset = attachment.offset;
      goLive();
    }
    this.state.value = { kind: "ended", job: await attachment.result() };
  }
}

async function settledWithin(promise: Promise<void>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const expired = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise, expired]);
  clearTimeout(timer);
}

function failureOf(error: unknown): SessionState {
  if (!(error instanceof JobWorkerError)) {
    throw error;
  }
  const { code, reason, message } = error;
  if (code === "CANCELLED") {
    return { kind: "detached" };
  }
  return { kind: reason === "STDIN_IN_USE" ? "in-use" : "failed", message };
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const data = new Uint8Array(pieces.reduce((bytes, piece) => bytes + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    data.set(piece, offset);
    offset += piece.length;
  }
  return data;
}
