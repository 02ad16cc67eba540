/** The same call for several jobs. */

const CONCURRENCY = 6;

/** Calls `act` for all jobs, some at a time. Returns the errors of those that failed. */
export async function forEachJob<Job>(
  jobs: readonly Job[],
  act: (job: Job) => Promise<unknown>,
): Promise<unknown[]> {
  const errors: unknown[] = [];
  // The workers share one iterator, so each job is taken once.
  const waiting = jobs.values();
  const work = async () => {
    for (const job of waiting) {
      try {
        await act(job);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return errors;
}
