/** How much of something is in use. */

interface UseProps {
  /** The name of the thing, for screen readers. */
  readonly name: string;
  readonly text: string;
  /** The part in use, from 0 to 1. Undefined = there is no bar. */
  readonly share: number | undefined;
  /** The share from which the bar warns. Default: it never does. */
  readonly high?: number;
}

/** A text with a bar below it. */
export function Use({ name, text, share, high = 1 }: UseProps) {
  return (
    <span class="use">
      {text}
      {share !== undefined && (
        <meter class="use-bar" aria-label={`${name} in use`} value={share} high={high} optimum={0} />
      )}
    </span>
  );
}
