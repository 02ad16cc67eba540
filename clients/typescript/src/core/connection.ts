/** The interface between the calls of a client and its connection, which differs between Node and browsers. */
import type { Client as Stub } from "@connectrpc/connect";
import type { ClusterService } from "../gen/jobworker/v1/cluster_service_pb.js";
import type { JobService } from "../gen/jobworker/v1/job_service_pb.js";
import type { JobWorkerError } from "./errors.js";

/** A connection to a server. */
export interface Connection {
  /** Makes the calls. */
  readonly stub: Stub<typeof JobService>;
  /** Makes the calls that only a gateway answers. */
  readonly clusterStub: Stub<typeof ClusterService>;
  /** Connects unless already connected. Returns whether there is a connection. */
  connect(): Promise<boolean>;
  /** Converts the error of a call. */
  errorOf(error: unknown): JobWorkerError;
  /** Closes the connection and ends its calls. */
  close(): void;
}
