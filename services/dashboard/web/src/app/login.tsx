/** The views for a user who is not logged in. */
import { Button } from "../ui/button.js";
import { EmptyState } from "../ui/empty_state.js";
import { Page } from "./page.js";
import { navigate } from "./router.js";
import { keepSession, loadSession, logIn, type Session } from "./session.js";

/** Explains how to log in. `message` is the reason that the dashboard gave, if any. */
export function LoginPage({ message }: { message: string }) {
  return (
    <Page title="Log in" heading={<span class="visually-hidden">Log in</span>}>
      <EmptyState title="You are not logged in">
        {message && (
          <p class="message warn" role="alert">
            {message}
          </p>
        )}
        <p>
          Run one of these commands on your own machine. It prints a link that works once, for 60 seconds.
        </p>
        <dl class="login-commands">
          <dt>Your own dashboard, with your certificate</dt>
          <dd>
            <code>jobworker dashboard</code>
          </dd>
          <dt>This shared dashboard</dt>
          <dd>
            <code>jobworker dashboard login --url {location.origin}</code>
          </dd>
        </dl>
        <Button onClick={() => void loadSession()}>Try again</Button>
      </EmptyState>
    </Page>
  );
}

/** Asks whether a login link may replace the session. */
export function ReplaceSession({ user, token }: { user: Session; token: string }) {
  const keep = () => {
    keepSession(user);
    navigate("/", { replace: true });
  };
  const replace = async () => {
    await logIn(token);
    navigate("/", { replace: true });
  };
  return (
    <Page title="Log in" heading={<span class="visually-hidden">Log in</span>}>
      <EmptyState title="You are logged in already">
        <p>
          You are logged in as <code>{user.subject}</code>. The link that you opened starts another session.
          If you did not create the link yourself, it can log you in as another user.
        </p>
        <Button kind="primary" onClick={keep}>
          Keep this session
        </Button>
        <Button onClick={() => void replace()}>Log in with the link</Button>
      </EmptyState>
    </Page>
  );
}

/** The dashboard itself does not answer. */
export function SessionFailed({ message }: { message: string }) {
  return (
    <Page title="Not connected" heading={<span class="visually-hidden">Not connected</span>}>
      <EmptyState title="The dashboard does not answer">
        <p role="alert">{message}</p>
        <p>
          Check that the dashboard still runs, or start it again with <code>jobworker dashboard</code>.
        </p>
        <Button kind="primary" onClick={() => void loadSession()}>
          Try again
        </Button>
      </EmptyState>
    </Page>
  );
}
