/** The worker's side of a log view: the stream of a job, its rows, the search and downloads. */
import { BrowserClient, type Chunk, type JobWorkerError, type Source } from "@jobworker/client/browser";
import { nextTask } from "../ui/tasks.js";
import { collectDownload } from "./download.js";
import { LogPages } from "./log_pages.js";
import type { MatchPlace } from "./match_index.js";
import type { MatchRange, Query } from "./matcher.js";
import type { Download, LogMethods, LogState, SearchState, TextPoint, WorkerMessage } from "./messages.js";
import { type Outcome, outcomeOf } from "./outcome.js";
import { PageLoader } from "./page_loader.js";
import { locateLine, locateOffset, locateTime } from "./row_locator.js";
import { MissingPage, type Row, RowReader } from "./row_reader.js";
import { SearchFeed } from "./search_feed.js";
import { BOTH, type Filter, ONLY_STDERR, ONLY_STDOUT, sourceIndex } from "./source.js";
import { clipText } from "./text_clip.js";

const FILTERS = [BOTH, ONLY_STDOUT, ONLY_STDERR] as const;
// The page draws fast output this often.
const STATE_INTERVAL_MS = 100;
const RETRY_MS = 5000;
// The worker answers calls after at most this much output.
const BUSY_MS = 15;

type Promised<Methods> = {
  [Name in keyof Methods]: Methods[Name] extends (...parameters: infer Parameters) => infer Result
    ? (...parameters: Parameters) => Result | Promise<Result>
    : never;
};

/** One log view. */
export class LogSession implements Promised<LogMethods> {
  readonly #post: (message: WorkerMessage) => void;
  readonly #newSearchWorker: () => Worker;
  readonly #log = new LogPages();
  readonly #reader = new RowReader(this.#log);
  #client: BrowserClient | undefined;
  #loader: PageLoader | undefined;
  #search: SearchFeed | undefined;
  #download = new AbortController();
  #jobId = "";
  #phase: LogState["phase"] = "live";
  #outcome: Outcome | undefined;
  #error = { error: "", errorCode: "" };
  #firstTime = 0;
  #lastTime = 0;
  #stateTimer: ReturnType<typeof setTimeout> | undefined;
  #stateTime = 0;
  #retryNow = () => {};

  constructor(post: (message: WorkerMessage) => void, newSearchWorker: () => Worker) {
    this.#post = post;
    this.#newSearchWorker = newSearchWorker;
  }

  open(jobId: string, baseUrl: string): void {
    this.#jobId = jobId;
    const client = new BrowserClient(baseUrl, {
      onState: (state) => this.#setPhase(state === "connected" ? "live" : "reconnecting"),
    });
    this.#client = client;
    this.#loader = new PageLoader(this.#log, (offset) => client.stream(jobId, { offset, follow: false }));
    void this.#follow(client);
  }

  rows(filter: Filter, first: number, end: number): Promise<Row[]> {
    return this.#withPages(() => this.#reader.rows(filter, first, end));
  }

  text(filter: Filter, from: TextPoint, to: TextPoint): Promise<string> {
    return clipText(from, to, (first, end) => this.rows(filter, first, end));
  }

  rowAtOffset(filter: Filter, offset: number): Promise<number> {
    return this.#withPages(() => locateOffset(this.#log, filter, offset));
  }

  rowAtTime(filter: Filter, time: number): Promise<number> {
    return this.#withPages(() => locateTime(this.#log, filter, time));
  }

  rowAtLine(filter: Filter, line: number): Promise<number> {
    return this.#withPages(() => locateLine(this.#log, filter, line));
  }

  search(filter: Filter, query: Query | undefined): void {
    this.#search?.close();
    this.#search = query && this.#startSearch(filter, query);
    this.#post({ kind: "search", state: undefined });
  }

  async match(ordinal: number): Promise<MatchPlace | undefined> {
    return this.#search?.match(ordinal);
  }

  async matchFrom(row: number): Promise<MatchPlace | undefined> {
    return this.#search?.matchFrom(row);
  }

  async matchRanges(texts: readonly string[]): Promise<MatchRange[][]> {
    return (await this.#search?.ranges(texts)) ?? [];
  }

  async download(source: Source | undefined): Promise<Download> {
    this.#download = new AbortController();
    const { signal } = this.#download;
    const chunks = this.#connected().stream(this.#jobId, { source, follow: false, signal });
    return collectDownload(chunks, (bytes) => this.#post({ kind: "downloaded", bytes }));
  }

  cancelDownload(): void {
    this.#download.abort(new Error("the download was cancelled"));
  }

  retry(): void {
    this.#retryNow();
  }

  /** Reads the output until the job has ended, over failures of any length. */
  async #follow(client: BrowserClient): Promise<void> {
    while (this.#phase !== "ended") {
      try {
        await this.#readStream(client);
      } catch (error) {
        const { code, retryable, message } = error as JobWorkerError;
        this.#error = { error: message, errorCode: code };
        this.#setPhase("failed");
        await this.#waitForRetry(retryable ? RETRY_MS : undefined);
      }
    }
  }

  async #readStream(client: BrowserClient): Promise<void> {
    const stream = client.stream(this.#jobId, { offset: this.#log.end });
    let begin = performance.now();
    for await (const chunk of stream) {
      this.#add(chunk);
      if (performance.now() - begin > BUSY_MS) {
        await nextTask();
        begin = performance.now();
      }
    }
    this.#outcome = outcomeOf(await stream.result());
    this.#setPhase("ended");
  }

  #add(chunk: Chunk): void {
    if (chunk.truncated) {
      this.#log.addGap(chunk.truncated);
    } else {
      this.#lastTime = chunk.time.getTime();
      this.#firstTime ||= this.#lastTime;
      this.#log.add(chunk.data, chunk.offset, sourceIndex(chunk.source), this.#lastTime);
    }
    this.#error = { error: "", errorCode: "" };
    this.#setPhase("live");
  }

  #waitForRetry(delayMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      this.#retryNow = resolve;
      if (delayMs !== undefined) {
        setTimeout(resolve, delayMs);
      }
    });
  }

  #setPhase(phase: LogState["phase"]): void {
    // The calls of downloads and of pages that are loaded again report a state, too.
    if (this.#phase !== "ended") {
      this.#phase = phase;
    }
    this.#search?.continue();
    this.#stateTimer ??= setTimeout(
      () => this.#postState(),
      Math.max(0, this.#stateTime - performance.now()),
    );
  }

  #postState(): void {
    this.#stateTimer = undefined;
    this.#stateTime = performance.now() + STATE_INTERVAL_MS;
    const { end } = this.#log;
    const rows = FILTERS.map((filter) => this.#log.rowCount(filter)) as unknown as LogState["rows"];
    const lines = FILTERS.map((filter) => this.#log.lineCount(filter)) as unknown as LogState["lines"];
    const times = { firstTime: this.#firstTime, lastTime: this.#lastTime };
    const [phase, outcome] = [this.#phase, this.#outcome];
    this.#post({ kind: "state", state: { rows, lines, end, ...times, ...this.#error, phase, outcome } });
  }

  #startSearch(filter: Filter, query: Query): SearchFeed {
    const rows = {
      count: () => this.#log.rowCount(filter),
      isLastOpen: () => this.#phase !== "ended" && this.#log.isLastOpen(filter),
      texts: (first: number, end: number) => this.#withPages(() => this.#reader.texts(filter, first, end)),
    };
    const report = (state: SearchState) => this.#post({ kind: "search", state });
    return new SearchFeed(query, rows, this.#newSearchWorker(), report);
  }

  /** Repeats a read until all pages that it needs are in memory. */
  async #withPages<T>(read: () => T): Promise<T> {
    for (;;) {
      try {
        return read();
      } catch (error) {
        if (!(error instanceof MissingPage)) {
          throw error;
        }
        await this.#loader?.load(error.page);
      }
    }
  }

  #connected(): BrowserClient {
    if (!this.#client) {
      throw new Error("the log is not open");
    }
    return this.#client;
  }
}
