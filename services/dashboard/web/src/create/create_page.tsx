/** The view that creates a job, or a copy of one. */
import { useEffect, useState } from "preact/hooks";
import { client, endsSession } from "../app/client.js";
import { Link } from "../app/link.js";
import { Page } from "../app/page.js";
import { query } from "../app/router.js";
import { isAdmin } from "../app/session.js";
import { EmptyState } from "../ui/empty_state.js";
import { errorText } from "../ui/error_text.js";
import { type Draft, EMPTY_DRAFT, fromJob } from "./draft.js";
import { JobForm } from "./job_form.js";

/** The form. With `?clone=ID`, it has the values of that job. */
export function CreatePage() {
  const source = query.value.get("clone") ?? "";
  if (!isAdmin.value) {
    return (
      <Page title="New job">
        <EmptyState title="You cannot create jobs">
          <p>
            Your certificate has the role viewer. Ask the administrator of the server for one with the role
            admin.
          </p>
          <Link href="/">Show all jobs</Link>
        </EmptyState>
      </Page>
    );
  }
  return source ? (
    <Clone key={source} id={source} />
  ) : (
    <Page title="New job">
      <JobForm key="empty" initial={EMPTY_DRAFT} />
    </Page>
  );
}

function Clone({ id }: { id: string }) {
  const [draft, setDraft] = useState<Draft>();
  const [failure, setFailure] = useState("");
  useEffect(() => {
    const abort = new AbortController();
    client.get(id, { signal: abort.signal }).then(
      (job) => setDraft(fromJob(job)),
      (error: unknown) => {
        if (!abort.signal.aborted && !endsSession(error)) {
          setFailure(errorText(error));
        }
      },
    );
    return () => abort.abort();
  }, [id]);
  return (
    <Page title="Clone job" heading={<>Clone of a job</>}>
      {failure && (
        <p class="message bad" role="alert">
          {failure}
        </p>
      )}
      {draft && (
        <>
          <p class="message warn">
            The record of <Link href={`/jobs/${id}`}>the job</Link> does not contain its environment
            variables. Enter them again if the command needs them.
          </p>
          <JobForm initial={draft} />
        </>
      )}
    </Page>
  );
}
