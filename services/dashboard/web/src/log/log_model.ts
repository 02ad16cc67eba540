/** The state of a log view, and the effects of its controls. */
import { batch, signal } from "@preact/signals";
import { reportError } from "../app/client.js";
import { notify } from "../app/notices.js";
import { query as addressQuery, path, setQuery } from "../app/router.js";
import { requireLogin } from "../app/session.js";
import { LogClient } from "./log_client.js";
import { LogWindow } from "./log_window.js";
import { MatchHighlights } from "./match_highlights.js";
import type { MatchPlace } from "./match_index.js";
import type { Query } from "./matcher.js";
import type { LogState, SearchState } from "./messages.js";
import { saveBlob } from "./save_blob.js";
import { LogSelection } from "./selection.js";
import { BOTH, type Filter, ONLY_STDERR, ONLY_STDOUT } from "./source.js";
import type { WindowElements } from "./window_elements.js";

const EMPTY: LogState = {
  rows: [0, 0, 0],
  lines: [0, 0, 0],
  end: 0,
  firstTime: 0,
  lastTime: 0,
  phase: "live",
  outcome: undefined,
  error: "",
  errorCode: "",
};

export class LogModel {
  readonly state = signal(EMPTY);
  readonly filter = signal<Filter>(BOTH);
  readonly wraps = signal(false);
  readonly showsTimes = signal(false);
  readonly isFollowing = signal(true);
  readonly searchQuery = signal<Query | undefined>(undefined);
  readonly search = signal<SearchState | undefined>(undefined);
  readonly match = signal<MatchPlace | undefined>(undefined);
  /** Bytes of the present download, or undefined. */
  readonly downloaded = signal<number | undefined>(undefined);

  readonly #jobId: string;
  readonly #client: LogClient;
  #window: LogWindow | undefined;
  #selection: LogSelection | undefined;
  readonly #highlights = new MatchHighlights();
  // The offset or the line of the address, until output has reached it.
  #awaited: { readonly offset?: number; readonly line?: number } | undefined;
  #showsFirstMatch = false;
  // The place in the address, as it was read or written last.
  #place = "";

  constructor(jobId: string, baseUrl: string) {
    this.#jobId = jobId;
    this.#client = new LogClient(jobId, baseUrl, {
      onState: (state) => this.#onState(state),
      onFailure: () => notify("The log view has failed. Reload the page.", "bad"),
      onSearch: (state) => this.#onSearch(state),
      onDownload: (bytes) => {
        this.downloaded.value = this.downloaded.peek() === undefined ? undefined : bytes;
      },
    });
  }

  /** Draws the log into elements, until `close`. */
  mount(elements: WindowElements): void {
    const window = new LogWindow(this.#client, this.filter.peek(), elements, {
      onFollow: (isFollowing) => {
        this.isFollowing.value = isFollowing;
      },
      onDraw: () => this.#onDraw(),
      hrefOf: (offset) => this.#hrefOf(offset),
    });
    this.#window = window;
    this.#selection = new LogSelection(elements, window, (from, to) =>
      this.#client.call("text", this.filter.peek(), from, to),
    );
    window.setTotal(this.state.peek().rows[this.filter.peek()]);
  }

  close(): void {
    this.#window?.close();
    this.#selection?.close();
    this.#highlights.clear();
    this.#client.close();
  }

  /** Shows the line that the address names, if this is another line than before. */
  readAddress(): void {
    const query = addressQuery.peek();
    const place = query.get("offset") ?? `line ${query.get("line") ?? ""}`;
    const isOther = place !== this.#place && place !== "line ";
    this.#place = place;
    if (isOther) {
      const [offset, line] = [query.get("offset"), query.get("line")].map(Number) as [number, number];
      this.#awaited = query.has("offset") ? { offset } : { line };
      this.#window?.follow(false);
      void this.#showAwaited();
    }
  }

  /** Puts the link to an offset into the address, and marks its row. */
  async markOffset(offset: number): Promise<void> {
    this.#place = String(offset);
    setQuery({ offset: String(offset), line: undefined }, { replace: true });
    const row = await this.#client.call("rowAtOffset", this.filter.peek(), offset);
    this.#window?.mark(row);
  }

  toggleFollow(): void {
    this.#window?.follow(!this.isFollowing.peek());
  }

  toggleWrap(): void {
    this.wraps.value = !this.wraps.peek();
    // The class of the element changes first.
    requestAnimationFrame(() => this.#window?.setWraps(this.wraps.peek()));
  }

  toggleTimes(): void {
    this.showsTimes.value = !this.showsTimes.peek();
    requestAnimationFrame(() => this.#window?.relayout());
  }

  /** Shows or hides the rows of a stream. At least one stream is shown. */
  toggleSource(source: typeof ONLY_STDOUT | typeof ONLY_STDERR): void {
    const other = source === ONLY_STDOUT ? ONLY_STDERR : ONLY_STDOUT;
    void this.#setFilter(this.filter.peek() === other ? BOTH : other);
  }

  scrollRows(rows: number): void {
    this.#window?.scrollRows(rows);
  }

  scrollPages(pages: number): void {
    this.#window?.scrollPages(pages);
  }

  showFirst(): void {
    this.#window?.show(0, { context: false });
  }

  showLast(): void {
    this.#window?.follow(true);
  }

  async showTime(time: number): Promise<void> {
    await this.#show(this.#client.call("rowAtTime", this.filter.peek(), time));
  }

  async showLine(line: number): Promise<void> {
    await this.#show(this.#client.call("rowAtLine", this.filter.peek(), line));
  }

  /** Searches for a query, or ends the search. */
  find(query: Query | undefined): void {
    batch(() => {
      this.searchQuery.value = query;
      this.match.value = undefined;
      this.search.value = undefined;
    });
    this.#showsFirstMatch = query !== undefined;
    this.#highlights.clear();
    void this.#client.call("search", this.filter.peek(), query);
  }

  /** Shows the next match, or a match before the present one. */
  async step(by: 1 | -1): Promise<void> {
    if (this.search.peek()?.matches) {
      const current = this.match.peek();
      const next = current
        ? this.#client.call("match", current.ordinal + by)
        : this.#client.call("matchFrom", this.#window?.topRow ?? 0);
      await this.#showMatch(next);
    }
  }

  /** Saves all output, or that of one stream. */
  async download(source: "stdout" | "stderr" | undefined): Promise<void> {
    this.downloaded.value = 0;
    try {
      const { blob, missing } = await this.#client.call("download", source);
      saveBlob(blob, `${this.#jobId}${source ? `.${source}` : ""}.log`);
      if (missing) {
        notify(
          `The server does not have ${missing} bytes of the log. The file does not contain them.`,
          "bad",
        );
      }
    } catch (error) {
      if (this.downloaded.peek() !== undefined) {
        reportError(error);
      }
    } finally {
      this.downloaded.value = undefined;
    }
  }

  cancelDownload(): void {
    this.downloaded.value = undefined;
    void this.#client.call("cancelDownload");
  }

  retry(): void {
    void this.#client.call("retry");
  }

  #onState(state: LogState): void {
    this.state.value = state;
    if (state.errorCode === "UNAUTHENTICATED") {
      requireLogin(state.error);
    }
    this.#window?.setTotal(state.rows[this.filter.peek()]);
    void this.#showAwaited();
  }

  #onSearch(state: SearchState | undefined): void {
    this.search.value = state;
    // The first match after the top of the view is known once the search has passed it.
    const hasPassed = state?.phase === "complete" || (state?.searchedRows ?? 0) > (this.#window?.topRow ?? 0);
    if (state?.matches && hasPassed && this.#showsFirstMatch) {
      this.#showsFirstMatch = false;
      void this.#showMatch(this.#client.call("matchFrom", this.#window?.topRow ?? 0));
    }
    if (state?.phase === "failed") {
      this.#highlights.clear();
    }
  }

  #onDraw(): void {
    this.#selection?.restore();
    if (this.searchQuery.peek() && this.search.peek()?.phase !== "failed") {
      const rows = this.#window?.drawnRows ?? [];
      const ranges = (texts: readonly string[]) => this.#client.call("matchRanges", texts);
      void this.#highlights.update(rows, ranges, this.match.peek());
    }
  }

  /** Waits for the output that the address names, and shows it. */
  async #showAwaited(): Promise<void> {
    const awaited = this.#awaited;
    const { end, phase, rows } = this.state.peek();
    const { offset = 0, line = 0 } = awaited ?? {};
    const isThere = phase === "ended" || (offset ? end > offset : rows[BOTH] > line);
    if (awaited && isThere && rows[BOTH] && this.#window) {
      this.#awaited = undefined;
      const row = awaited.line
        ? this.#client.call("rowAtLine", this.filter.peek(), line)
        : this.#client.call("rowAtOffset", this.filter.peek(), offset);
      await this.#show(row);
    }
  }

  async #show(row: Promise<number>): Promise<void> {
    try {
      this.#window?.show(await row, { mark: true });
    } catch (error) {
      reportError(error);
    }
  }

  async #showMatch(place: Promise<MatchPlace | undefined>): Promise<void> {
    try {
      const match = await place;
      this.match.value = match;
      if (match) {
        this.#highlights.reveal();
        this.#window?.show(match.row, { mark: true });
      }
    } catch {
      // The search has ended meanwhile, and says why.
    }
  }

  async #setFilter(filter: Filter): Promise<void> {
    const top = this.#window?.drawnRows.find(([row]) => row >= (this.#window?.topRow ?? 0));
    const row = top ? await this.#client.call("rowAtOffset", filter, top[1].offset) : 0;
    this.filter.value = filter;
    this.#selection?.clear();
    this.#window?.setFilter(filter, this.state.peek().rows[filter], row);
    if (this.searchQuery.peek()) {
      this.find(this.searchQuery.peek());
      this.#showsFirstMatch = false;
    }
  }

  #hrefOf(offset: number): string {
    return `${path.peek()}?tab=log&offset=${offset}`;
  }
}
