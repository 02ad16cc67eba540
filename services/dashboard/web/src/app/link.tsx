/** Links between the pages of the dashboard. */
import type { ComponentChildren } from "preact";
import { navigate } from "./router.js";

interface LinkProps {
  readonly href: string;
  readonly class?: string;
  readonly title?: string;
  /** The accessible name, if it is not the text. */
  readonly label?: string;
  readonly children: ComponentChildren;
}

/** A link that changes the view without loading the page again. Clicks that open a new tab work as for any link. */
export function Link({ href, class: className, title, label, children }: LinkProps) {
  const follow = (event: MouseEvent) => {
    if (event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)) {
      event.preventDefault();
      navigate(href);
    }
  };
  return (
    <a href={href} class={className} title={title} aria-label={label} onClick={follow}>
      {children}
    </a>
  );
}
