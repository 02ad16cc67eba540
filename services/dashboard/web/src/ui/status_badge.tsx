/** The status of a job as a badge. */
import type { Job } from "@jobworker/client/browser";
import { Icon } from "./icons.js";
import { printable } from "./printable.js";
import { statusDetail, statusReason, statusStyle } from "./status.js";

interface StatusBadgeProps {
  readonly job: Job;
  /** A newer position than that of `job`. */
  readonly queuePosition?: number | undefined;
}

/** The status with its reason. The tooltip has the server's sentence. */
export function StatusBadge({ job, queuePosition }: StatusBadgeProps) {
  const { name, kind, icon } = statusStyle(job.status);
  const detail = statusDetail(job, queuePosition);
  return (
    <span class={`badge ${kind}`} title={printable(statusReason(job)) || undefined}>
      <Icon name={icon} />
      {name}
      {detail && <span class="badge-detail ellipsis">{detail}</span>}
    </span>
  );
}
