/** The view of one job. */
import { Page } from "../app/page.js";

/** The record, the usage and the output of a job. */
export function JobPage({ id }: { id: string }) {
  return <Page title={`Job ${id}`}>{null}</Page>;
}
