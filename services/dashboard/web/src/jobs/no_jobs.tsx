/** The view of all jobs without a job. */
import { isAdmin } from "../app/session.js";
import { Button, ButtonLink } from "../ui/button.js";
import { EmptyState } from "../ui/empty_state.js";
import { errorText } from "../ui/error_text.js";
import { clearFilters } from "./toolbar.js";

/** Says why there is no job, and what the user can do. */
export function NoJobs({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <EmptyState title="No job matches the filters">
        <p>The server has no such job any more, or never had one. New jobs that match appear here.</p>
        <Button onClick={clearFilters}>Clear filters</Button>
      </EmptyState>
    );
  }
  return (
    <EmptyState title="No jobs yet">
      {isAdmin.value ? (
        <>
          <p>Create one here, or in a terminal:</p>
          <code class="panel empty-command">jobworker run uname -a</code>
          <ButtonLink href="/create" icon="plus" kind="primary">
            Create a job
          </ButtonLink>
        </>
      ) : (
        <p>Jobs appear here when an admin creates them. Your certificate has the role viewer.</p>
      )}
    </EmptyState>
  );
}

/** The server refused the watch. */
export function Failure({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  return (
    <EmptyState title="The server did not return the jobs">
      <p role="alert">{errorText(error)}</p>
      <Button onClick={onRetry}>Try again</Button>
    </EmptyState>
  );
}
