/** Buttons, and links that look like buttons. */
import type { ComponentChildren, Ref } from "preact";
import { Link } from "../app/link.js";
import { Icon, type IconName } from "./icons.js";

type Kind = "normal" | "primary" | "danger" | "quiet";

interface ButtonProps {
  readonly children: ComponentChildren;
  readonly onClick?: (() => void) | undefined;
  readonly kind?: Kind;
  readonly icon?: IconName | undefined;
  readonly disabled?: boolean | undefined;
  readonly type?: "button" | "submit";
  readonly buttonRef?: Ref<HTMLButtonElement>;
}

/** A button with text, and an icon before it if `icon` is set. */
export function Button({ kind = "normal", type = "button", ...props }: ButtonProps) {
  const { children, onClick, icon, disabled, buttonRef = null } = props;
  return (
    <button type={type} class={`button ${kind}`} disabled={disabled} onClick={onClick} ref={buttonRef}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

interface IconButtonProps {
  /** The accessible name, which is also the tooltip. */
  readonly label: string;
  readonly icon: IconName;
  readonly onClick: () => void;
  /** Set for a button that stays on or off. */
  readonly pressed?: boolean | undefined;
  readonly disabled?: boolean | undefined;
  readonly buttonRef?: Ref<HTMLButtonElement>;
}

/** A button with an icon only. */
export function IconButton({ label, icon, onClick, pressed, disabled, buttonRef }: IconButtonProps) {
  return (
    <button
      type="button"
      class="button quiet icon"
      aria-label={label}
      aria-pressed={pressed}
      title={label}
      disabled={disabled}
      onClick={onClick}
      ref={buttonRef ?? null}
    >
      <Icon name={icon} />
    </button>
  );
}

/** A link to a page of the dashboard that looks like a button. */
export function ButtonLink({ href, icon, kind = "normal", children }: ButtonLinkProps) {
  return (
    <Link href={href} class={`button ${kind}`}>
      {icon && <Icon name={icon} />}
      {children}
    </Link>
  );
}

interface ButtonLinkProps {
  readonly href: string;
  readonly icon?: IconName | undefined;
  readonly kind?: Kind;
  readonly children: ComponentChildren;
}
