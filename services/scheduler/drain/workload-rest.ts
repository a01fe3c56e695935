import type { ContainersClient } from "#contracts/container/v1/container";
import type { Operation } from "#contracts/operation/v1/operation";
import type { VmsClient } from "#contracts/vm/v1/vm";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { JobContext } from "#libs/operations";

export interface RestDeps {
  readonly vms: Pick<VmsClient, "getVm" | "stopVm" | "moveVm">;
  readonly containers: Pick<ContainersClient, "getContainer" | "stopContainer" | "moveContainer">;
  /** Waits for an operation's end and gives it. Fails with its error. */
  readonly succeeded: (operation: Operation, signal: AbortSignal) => Promise<Pick<Operation, "output">>;
  /** Waits for an operation's end, whatever it is. */
  readonly ended: (operation: string, signal: AbortSignal) => Promise<void>;
}

/**
 * What a drain has made of a workload: "idle" when it did not run. `to`: the host that it was moved to. `why`: it could
 * not be moved, as it asks for, or does not run where it was moved to.
 */
export interface Rested {
  readonly workload: string;
  readonly became: "idle" | "stopped" | "moved";
  readonly to?: string;
  readonly why?: string;
}

/** The operation that drains, and the host that it empties. */
export type Drain = Pick<JobContext, "operationId" | "target" | "signal">;

interface Seen {
  /** hosts/<host>; empty before placement. */
  readonly host: string;
  readonly isLive: boolean;
  /** The operation that holds it; empty when none does. */
  readonly operation: string;
  readonly asksToMove: boolean;
}

/** Other operations may take hold of it meanwhile; each is waited for. */
const attempts = 10;
const live: ReadonlySet<string> = new Set(
  ["RUNNING", "PAUSED", "RESTARTING"].flatMap((word) => [`VM_STATE_${word}`, `CONTAINER_STATE_${word}`]),
);

/**
 * Brings a workload to rest: waits for what is under way on it, then moves it if it asks for that, or stops it as its
 * owner would. A drain that begins again gets the answers that it got before.
 */
export async function bringToRest(deps: RestDeps, drain: Drain, workload: string): Promise<Rested> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const requestId = `${drain.operationId}-${workload.replaceAll("/", ".")}-${attempt}`;
    const rested = await attemptRest(deps, drain, { name: workload, requestId });
    if (rested !== undefined) return rested;
  }
  throw new StillpointError("TARGET_BUSY", `${workload} is never free`);
}

interface Target {
  readonly name: string;
  readonly requestId: string;
}

/** Undefined when another operation held it: look again. */
async function attemptRest(deps: RestDeps, drain: Drain, target: Target): Promise<Rested | undefined> {
  const { name: workload } = target;
  const seen = await look(deps, workload);
  if (seen === undefined || isElsewhere(seen, drain)) return { workload, became: "idle" };
  if (seen.operation !== "") {
    await deps.ended(seen.operation, drain.signal);
    return undefined;
  }
  const moved = seen.asksToMove ? await move(deps, drain, target) : undefined;
  if (moved === "busy") return undefined;
  if (moved !== undefined && "to" in moved) return { workload, became: "moved", ...moved };
  if (!seen.isLive) return { workload, became: "idle", ...moved };
  const isAtRest = await unlessBusy(async () => deps.succeeded(await stop(deps, target), drain.signal));
  return isAtRest === "busy" ? undefined : { workload, became: "stopped", ...moved };
}

/** One that is being made here says so in the end. */
const isElsewhere = ({ host }: Seen, { target }: Drain): boolean => host !== "" && host !== target;

type Moved = { readonly to: string; readonly why?: string } | { readonly why: string };

/** Where to, or why not. What may pass is thrown, and tried again. */
async function move({ vms, containers, succeeded }: RestDeps, { signal }: Drain, { name, requestId }: Target) {
  const request = { name, requestId: `${requestId}-move`, stayStopped: true };
  const ask = () => (isContainer(name) ? containers.moveContainer(request) : vms.moveVm(request));
  try {
    return await unlessBusy(async (): Promise<Moved> => {
      const { output } = await succeeded(await ask(), signal);
      const { to, notStarted } = output ?? {};
      return { to: String(to), ...(notStarted === undefined ? {} : { why: `it does not run there: ${notStarted}` }) };
    });
  } catch (error) {
    if (signal.aborted || !isStillpointError(error) || error.reason === "UNAVAILABLE") throw error;
    return { why: `${error.reason}: ${error.message}` };
  }
}

/** "busy" when another operation was faster to take hold of it. */
async function unlessBusy<Result>(work: () => Promise<Result>): Promise<Result | "busy"> {
  try {
    return await work();
  } catch (error) {
    if (isStillpointError(error, "TARGET_BUSY")) return "busy";
    throw error;
  }
}

const isContainer = (workload: string): boolean => workload.split("/")[2] === "containers";

function stop({ vms, containers }: RestDeps, target: Target) {
  return isContainer(target.name) ? containers.stopContainer(target) : vms.stopVm(target);
}

/** Undefined when it is gone. */
async function look({ vms, containers }: RestDeps, name: string): Promise<Seen | undefined> {
  try {
    const workload = isContainer(name) ? await containers.getContainer({ name }) : await vms.getVm({ name });
    const isLive = live.has(workload.state);
    const { host, operation } = workload;
    return { host, isLive, operation, asksToMove: workload.spec?.drain === "DRAIN_POLICY_MOVE" };
  } catch (error) {
    if (isStillpointError(error, "CONTAINER_NOT_FOUND") || isStillpointError(error, "VM_NOT_FOUND")) return undefined;
    throw error;
  }
}
