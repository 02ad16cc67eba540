/** The page: its frame, and the view that the address names. */
import { useEffect } from "preact/hooks";
import { CreatePage } from "../create/create_page.js";
import { JobPage } from "../job/job_page.js";
import { JobsPage } from "../jobs/jobs_page.js";
import { NodesPage } from "../nodes/nodes_page.js";
import { EmptyState } from "../ui/empty_state.js";
import { connection } from "./connection.js";
import { Header } from "./header.js";
import { KeyHelp } from "./key_help.js";
import { Link } from "./link.js";
import { LoginPage, ReplaceSession, SessionFailed } from "./login.js";
import { Notices } from "./notices.js";
import { Page } from "./page.js";
import { navigate, path } from "./router.js";
import { followLoginLink, loadSession, session, user } from "./session.js";
import "./app.css";

/** The whole page. */
export function App() {
  useEffect(() => {
    void startSession();
    // A link that is pasted while the login page is open changes only the fragment.
    addEventListener("hashchange", startSession);
    return () => removeEventListener("hashchange", startSession);
  }, []);
  return (
    <>
      <a class="skip-link" href="#main">
        Skip to the content
      </a>
      <Header user={user.value} />
      <ConnectionBanner />
      <View />
      <Notices />
      <KeyHelp />
    </>
  );
}

/** Exchanges the token of `/login#TOKEN`, if there is one. The token leaves the address bar and the history at once. */
async function startSession(): Promise<void> {
  const token = location.hash.slice(1);
  const isLogin = path.peek() === "/login";
  if (isLogin && token) {
    navigate("/login", { replace: true });
    await followLoginLink(token);
  } else if (session.peek().kind !== "user") {
    await loadSession();
  }
  if (isLogin && session.peek().kind === "user") {
    navigate("/", { replace: true });
  }
}

/** Warns that the view can be out of date. */
function ConnectionBanner() {
  return connection.value === "reconnecting" ? (
    <div class="banner" role="alert">
      The connection to the server is lost. Reconnecting…
    </div>
  ) : null;
}

function View() {
  const state = session.value;
  switch (state.kind) {
    case "loading":
      return <main id="main" class="page" aria-busy="true" />;
    case "login":
      return <LoginPage message={state.message} />;
    case "replace":
      return <ReplaceSession user={state.user} token={state.token} />;
    case "failed":
      return <SessionFailed message={state.message} />;
    case "user":
      return <Routed />;
  }
}

function Routed() {
  const [, view, id] = path.value.split("/");
  if (path.value === "/") {
    return <JobsPage />;
  }
  if (path.value === "/create") {
    return <CreatePage />;
  }
  if (path.value === "/nodes") {
    return <NodesPage />;
  }
  if (view === "jobs" && id) {
    return <JobPage key={id} id={id} />;
  }
  return <NotFound />;
}

function NotFound() {
  return (
    <Page title="Not found" heading={<span class="visually-hidden">Not found</span>}>
      <EmptyState title="This page does not exist">
        <p>
          The dashboard has no page <code>{path.value}</code>.
        </p>
        <Link href="/">Show all jobs</Link>
      </EmptyState>
    </Page>
  );
}
