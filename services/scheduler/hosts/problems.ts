import type { Heartbeat } from "#contracts/host/v1/agent";
import type { Host, HostProblem } from "#contracts/scheduler/v1/scheduler";
import { expiresSoon } from "#libs/tls";
import { amount } from "../domain/feasibility.ts";
import { type Amounts, dimensions } from "../domain/host.ts";
import { shortOf, toAmounts } from "./capacity.ts";

/** A clock is told to be wrong from here on, and no more when it is right to half of it. */
const skewMs = 60_000;

export interface Circumstances {
  readonly heartbeat: Heartbeat;
  /** Why its inventory cannot be true. */
  readonly nonsense: string | undefined;
  /** Wall-clock time here. */
  readonly now: Date;
  /** What its ledger holds. */
  readonly used: Amounts;
  /** Another agent that calls itself by its name. */
  readonly twin: string | undefined;
}

/** What is wrong with a host. A problem that it had before keeps its detail, so that it is said once. */
export function problemsOf(host: Host, before: readonly HostProblem[], seen: Circumstances): HostProblem[] {
  const had = new Map(before.map((problem) => [problem.reason, problem]));
  const found: Record<string, string | undefined> = {
    "capacity.below_used": belowUsed(host, seen.used),
    "certificate.expires": expiring(seen),
    "clock.skewed": skewed(seen, had.has("clock.skewed")),
    "identity.twice": seen.twin,
    "inventory.nonsense": seen.nonsense,
  };
  return Object.entries(found).flatMap(([reason, detail]) =>
    detail === undefined ? [] : [had.get(reason) ?? { reason, detail }],
  );
}

/** The events that tell what is wrong now and was not, and the other way round. */
export function problemEvents(before: readonly HostProblem[], after: readonly HostProblem[]) {
  const isIn = (all: readonly HostProblem[], { reason }: HostProblem) => all.some((other) => other.reason === reason);
  const event = (happened: string, data: Readonly<Record<string, unknown>>) => ({ aggregate: "host", happened, data });
  return [
    ...after.filter((problem) => !isIn(before, problem)).map((problem) => event("problem_found", { ...problem })),
    ...before.filter((problem) => !isIn(after, problem)).map(({ reason }) => event("problem_solved", { reason })),
  ];
}

function belowUsed({ capacity }: Host, used: Amounts): string | undefined {
  if (shortOf(capacity, used).length === 0) return undefined;
  const has = toAmounts(capacity);
  const told = dimensions
    .filter((dimension) => used[dimension] > has[dimension])
    .map(
      (dimension) => `${amount(dimension, used[dimension])}${noun[dimension]} of ${amount(dimension, has[dimension])}`,
    );
  return `workloads hold ${told.join(", ")}; nothing new is placed there, and nothing is taken away`;
}

const noun = { cpuMillis: "", memoryBytes: " of memory", diskBytes: " of disk" } as const;

function skewed({ heartbeat, now }: Circumstances, already: boolean): string | undefined {
  if (heartbeat.time === undefined) return undefined;
  const aheadMs = heartbeat.time.getTime() - now.getTime();
  if (Math.abs(aheadMs) < (already ? skewMs / 2 : skewMs)) return undefined;
  return `its clock is ${length(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead of" : "behind"} the scheduler's`;
}

function expiring({ heartbeat: { certificateExpireTime: until }, now }: Circumstances): string | undefined {
  if (until === undefined || !expiresSoon(until, now)) return undefined;
  return `its certificate is valid until ${until.toISOString().slice(0, 10)} only; after that it cannot connect`;
}

function length(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  return minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
}
