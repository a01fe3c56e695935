import type { WorkloadBody } from "../kind.ts";

/** As the record of a workload says it that could not be recovered, until it runs again or somebody stops it. */
export const whyUnrecovered = (host: string, why: string): string => `${host} is down, and it is not recovered: ${why}`;

/** True of one that was to run when its host went down, and was not recovered: it is to run there when that is back. */
export const isUnrecovered = ({
  host,
  stateReason = "",
}: Partial<Pick<WorkloadBody, "host" | "stateReason">>): boolean =>
  host !== undefined && stateReason.startsWith(whyUnrecovered(host, ""));
