/** Loads the content of pages again. */
import type { Chunk } from "@jobworker/client/browser";
import type { LogPages } from "./log_pages.js";
import { type Page, PageContent } from "./page.js";
import { RowSplitter } from "./row_splitter.js";
import { sourceIndex } from "./source.js";

/** Pages that one call loads at most. */
const READ_AHEAD = 4;

/** Returns the output from an offset to the present end. The call ends with the iteration. */
export type OpenAt = (offset: number) => AsyncIterable<Chunk>;

export class PageLoader {
  readonly #log: LogPages;
  readonly #open: OpenAt;
  #last: Promise<void> = Promise.resolve();

  constructor(log: LogPages, open: OpenAt) {
    this.#log = log;
    this.#open = open;
  }

  /** Loads a page, and pages after it that are missing, too. Calls wait for each other. */
  load(index: number): Promise<void> {
    const loaded = this.#last.catch(() => undefined).then(() => this.#load(index));
    this.#last = loaded;
    return loaded;
  }

  async #load(index: number): Promise<void> {
    const pages = this.#missingFrom(index);
    const [first] = pages;
    if (!first) {
      return;
    }
    let page: LoadingPage | undefined = new LoadingPage(first);
    for await (const chunk of this.#open(first.from)) {
      let rest = chunk;
      while (page && !page.add(rest)) {
        this.#finish(page);
        rest = without(rest, page.page.to);
        pages.shift();
        page = pages[0] && new LoadingPage(pages[0]);
      }
      if (!page) {
        break;
      }
    }
    if (page?.isComplete) {
      this.#finish(page);
    }
    if (!first.content && !first.gap) {
      throw new Error(`The server did not send the output from offset ${first.from} to ${first.to} again.`);
    }
  }

  #missingFrom(index: number): Page[] {
    const pages = this.#log.pages.slice(index, index + READ_AHEAD);
    const present = pages.findIndex((page) => page.content || page.gap);
    return present < 0 ? pages : pages.slice(0, present);
  }

  #finish({ page, content, lost }: LoadingPage): void {
    if (lost) {
      this.#log.lose(page, lost);
    } else {
      this.#log.restore(page, content);
    }
  }
}

/** A page of which a part is loaded. */
class LoadingPage {
  readonly page: Page;
  readonly content: PageContent;
  /** The reason why the server does not have all of the page. */
  lost = "";
  readonly #splitter: RowSplitter;
  #position: number;

  constructor(page: Page) {
    this.page = page;
    this.content = new PageContent(page.from);
    this.#splitter = new RowSplitter(page.entry.split);
    this.#position = page.from;
  }

  get isComplete(): boolean {
    return this.#position >= this.page.to;
  }

  /** Adds the part of a chunk that belongs to the page. Returns false if the chunk reaches the end of the page. */
  add(chunk: Chunk): boolean {
    if (chunk.truncated) {
      this.lost = chunk.truncated.reason;
      this.#position = chunk.truncated.toOffset;
    } else if (chunk.data.length && !this.lost) {
      const data = chunk.data.subarray(0, this.page.to - chunk.offset);
      this.#splitter.add(data, chunk.offset, sourceIndex(chunk.source), this.content);
      this.content.add(data, sourceIndex(chunk.source), chunk.time.getTime());
      this.#position = chunk.offset + data.length;
    } else {
      this.#position = chunk.offset + chunk.data.length;
    }
    return !this.isComplete;
  }
}

/** Returns the part of a chunk from an offset on. */
function without(chunk: Chunk, offset: number): Chunk {
  if (chunk.truncated) {
    return { ...chunk, offset, truncated: { ...chunk.truncated, fromOffset: offset } };
  }
  return { ...chunk, offset, data: chunk.data.subarray(offset - chunk.offset) };
}
