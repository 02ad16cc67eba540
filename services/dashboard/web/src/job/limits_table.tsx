/** The limits of a job in a table. */
import type { Job } from "@jobworker/client/browser";
import { Icon } from "../ui/icons.js";
import { Use } from "../ui/use.js";
import { type LimitRow, limitRows, type Rates } from "./limits.js";

// From this share on, the bar has the colour of a warning.
const HIGH = 0.9;

/** Each limit with the usage, and whether the kernel enforces it. */
export function LimitsTable({ job, rates }: { job: Job; rates: Rates }) {
  return (
    <section class="panel job-section" aria-labelledby="limits">
      <h2 id="limits">Limits</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it */}
      <section class="table-scroll" aria-labelledby="limits" tabIndex={0}>
        <table class="job-table" aria-labelledby="limits">
          <thead>
            <tr>
              <th scope="col">Limit</th>
              <th scope="col">Requested</th>
              <th scope="col">In use</th>
              <th scope="col">Enforced by the kernel</th>
            </tr>
          </thead>
          <tbody>
            {limitRows(job, rates).map((row) => (
              <tr key={row.limit}>
                <th scope="row">{row.name}</th>
                <td class="numeric">{row.requested}</td>
                <td class="numeric">{row.use && <Use name={row.name} {...row.use} high={HIGH} />}</td>
                <td>
                  <Enforcement row={row} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}

function Enforcement({ row }: { row: LimitRow }) {
  if (row.inForce === undefined) {
    return <span class="muted">not reported</span>;
  }
  return <InForce inForce={row.inForce} reason={row.reason} details={row.evidence} />;
}

/** Whether a limit or a part of the isolation is in force, and if not, why. */
export function InForce({ inForce, reason, details }: { inForce: boolean; reason: string; details: string }) {
  return inForce ? (
    <span>
      <span class="in-force">
        <Icon name="check" /> yes
      </span>{" "}
      {details && <code class="muted">{details}</code>}
    </span>
  ) : (
    <span class="not-in-force">
      <Icon name="warning" /> not in force: {reason}
    </span>
  );
}
