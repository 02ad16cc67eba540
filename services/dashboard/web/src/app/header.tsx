/** The bar at the top: where the page is connected, who the user is, and what works on every view. */
import { Button, ButtonLink, IconButton } from "../ui/button.js";
import { commonName } from "../ui/subject.js";
import { connection } from "./connection.js";
import { showKeyHelp } from "./key_help.js";
import { Link } from "./link.js";
import { isAdmin, isGateway, logOut, type Session } from "./session.js";
import { nextTheme, theme } from "./theme.js";

const THEME_ICONS = { system: "system", light: "sun", dark: "moon" } as const;

/** The bar. Without a user it has only the name and the theme. */
export function Header({ user }: { user: Session | undefined }) {
  return (
    <header class="header">
      <Link href="/" class="header-name" label="jobworker: all jobs">
        <Logo />
        <span class="header-word">jobworker</span>
      </Link>
      {user && <Server address={user.server} />}
      {isGateway.value && (
        <Link href="/nodes" class="header-link">
          Nodes
        </Link>
      )}
      <span class="header-space" />
      {user && <User user={user} />}
      {user?.mode === "delegated" && <LogOut />}
      {isAdmin.value && (
        <ButtonLink href="/create" icon="plus" kind="primary">
          New job
        </ButtonLink>
      )}
      <IconButton
        label={`Theme: ${theme.value}. Switch to ${nextTheme(theme.value)}`}
        icon={THEME_ICONS[theme.value]}
        onClick={() => {
          theme.value = nextTheme(theme.value);
        }}
      />
      <IconButton label="Keyboard shortcuts" icon="question" onClick={showKeyHelp} />
    </header>
  );
}

function Server({ address }: { address: string }) {
  const live = connection.value === "connected";
  return (
    <span class="header-server" title={address}>
      <span class="ellipsis">{address}</span>
      <span class={live ? "header-state" : "header-state lost"} role="status">
        {live ? "Live" : "Reconnecting"}
      </span>
    </span>
  );
}

function User({ user }: { user: Session }) {
  return (
    <span class="header-user" title={user.subject}>
      <span class="header-subject ellipsis">{commonName(user.subject)}</span>
      <span class="header-role">{user.role.toLowerCase()}</span>
    </span>
  );
}

/** A logout from one's own dashboard would need a new one, because its link works once. */
function LogOut() {
  return (
    <Button kind="quiet" onClick={() => void logOut()}>
      Log out
    </Button>
  );
}

function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" />
      <path d="M8 11l5 5-5 5M16 22h8" />
    </svg>
  );
}
