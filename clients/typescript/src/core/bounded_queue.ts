/** A queue between the task that receives the output of a job and the task that reads it. */

/** Passes items in order. `put` waits while the queue is full. */
export class BoundedQueue<T> {
  readonly #capacity: number;
  #items: T[] = [];
  #discards = false;
  #isClosed = false;
  #failure: Error | undefined;
  #hasRoom = (): void => undefined;
  #hasItem = (): void => undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Adds an item when the queue has room. One task can wait at a time. */
  async put(item: T): Promise<void> {
    while (this.#items.length >= this.#capacity && !this.#discards) {
      await new Promise<void>((resolve) => {
        this.#hasRoom = resolve;
      });
    }
    if (!this.#discards) {
      this.#items.push(item);
      this.#hasItem();
    }
  }

  /** Discards the items that are added from now on. */
  discard(): void {
    this.#discards = true;
    this.#hasRoom();
  }

  /** Ends the queue after its last item, with an error if one is given. */
  close(failure?: Error): void {
    this.#isClosed = true;
    this.#failure = failure;
    this.#hasItem();
  }

  /** Yields the items until the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      this.#hasRoom();
      if (item !== undefined) {
        yield item;
      } else if (!this.#isClosed) {
        await new Promise<void>((resolve) => {
          this.#hasItem = resolve;
        });
      } else if (this.#failure) {
        throw this.#failure;
      } else {
        return;
      }
    }
  }
}
