/** Lists of names and values. */
import type { ComponentChildren } from "preact";

/** A name and its value. */
export interface Fact {
  readonly name: string;
  readonly value: ComponentChildren;
}

/** A list of facts in columns. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="facts">
      {facts.map(({ name, value }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
