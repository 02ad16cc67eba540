/** The nodes of the cluster, as new as the last request. */
import { type BrowserClient, JobWorkerError, type Node } from "@jobworker/client/browser";
import { signal } from "@preact/signals";
import { errorText } from "../ui/error_text.js";

const INTERVAL_MS = 3000;

type Client = Pick<BrowserClient, "listNodes">;

/** Requests the nodes again and again. */
export class NodeList {
  /** Undefined until the first answer. The nodes stay while the server is away. */
  readonly nodes = signal<readonly Node[] | undefined>(undefined);
  /** The message of the last request, if it failed. */
  readonly failure = signal("");
  readonly #client: Client;
  readonly #intervalMs: number;

  constructor(client: Client, intervalMs = INTERVAL_MS) {
    this.#client = client;
    this.#intervalMs = intervalMs;
  }

  /**
   * Follows the nodes until the signal aborts. `isVisible` says whether the page is visible.
   *
   * @throws JobWorkerError if the server refuses the request.
   */
  async run(aborted: AbortSignal, isVisible: () => boolean): Promise<void> {
    while (!aborted.aborted) {
      if (isVisible()) {
        await this.#request(aborted);
      }
      await new Promise((resolve) => setTimeout(resolve, this.#intervalMs));
    }
  }

  async #request(aborted: AbortSignal): Promise<void> {
    try {
      const nodes: Node[] = [];
      for await (const node of this.#client.listNodes({ signal: aborted })) {
        nodes.push(node);
      }
      this.nodes.value = nodes;
      this.failure.value = "";
    } catch (error) {
      if (aborted.aborted) {
        return;
      }
      this.failure.value = errorText(error);
      if (!(error instanceof JobWorkerError && error.retryable)) {
        throw error;
      }
    }
  }
}
