/** The surroundings of a log window. */

/** Events of a log window. */
export interface WindowEvents {
  onFollow(isFollowing: boolean): void;
  /** The elements of rows have changed. */
  onDraw(): void;
  /** Returns the permanent link to an offset. */
  hrefOf(offset: number): string;
}

/** The elements of a log window. */
export interface WindowElements {
  /** Scrolls. */
  readonly scroller: HTMLElement;
  /** Has the height of the whole log. */
  readonly content: HTMLElement;
  /** Stays in the view while the content scrolls, and clips the rows. */
  readonly frame: HTMLElement;
  /** Contains the rows. */
  readonly layer: HTMLElement;
}
