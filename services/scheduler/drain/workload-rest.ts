import type { ContainersClient } from "#contracts/container/v1/container";
import type { Operation } from "#contracts/operation/v1/operation";
import type { VmsClient } from "#contracts/vm/v1/vm";
import { isStillpointError, StillpointError } from "#libs/errors";

export interface RestDeps {
  readonly vms: Pick<VmsClient, "getVm" | "stopVm">;
  readonly containers: Pick<ContainersClient, "getContainer" | "stopContainer">;
  /** Waits for an operation's end. Fails with its error. */
  readonly succeeded: (operation: Operation, signal: AbortSignal) => Promise<unknown>;
  /** Waits for an operation's end, whatever it is. */
  readonly ended: (operation: string, signal: AbortSignal) => Promise<void>;
}

/** What a drain has made of a workload: "idle" when it did not run. `why`: it could not be moved, as it asks for. */
export interface Rested {
  readonly workload: string;
  readonly became: "idle" | "stopped";
  readonly why?: string;
}

interface Seen {
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
 * Brings a workload to rest: waits for what is under way on it, then stops it as its owner would.
 * @param drain the operation; repeated, it gets the answers that it got before
 */
export async function bringToRest(
  deps: RestDeps,
  drain: string,
  workload: string,
  signal: AbortSignal,
): Promise<Rested> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const requestId = `${drain}-${workload.replaceAll("/", ".")}-${attempt}`;
    const rested = await attemptRest(deps, { name: workload, requestId }, signal);
    if (rested !== undefined) return rested;
  }
  throw new StillpointError("TARGET_BUSY", `${workload} is never free`);
}

interface Target {
  readonly name: string;
  readonly requestId: string;
}

/** Undefined when another operation held it: look again. */
async function attemptRest(deps: RestDeps, target: Target, signal: AbortSignal): Promise<Rested | undefined> {
  const { name: workload } = target;
  const seen = await look(deps, workload);
  if (seen === undefined || isIdle(seen)) return { workload, became: "idle" };
  if (seen.operation !== "") await deps.ended(seen.operation, signal);
  if (!seen.isLive || !(await isStopped(deps, target, signal))) return undefined;
  return { workload, became: "stopped", ...(seen.asksToMove ? { why: cannotMove } : {}) };
}

const cannotMove = "moving a container to another host is not possible yet";

const isIdle = ({ isLive, operation }: Seen): boolean => !isLive && operation === "";

/** False when another operation was faster to take hold of it. */
async function isStopped(deps: RestDeps, target: Target, signal: AbortSignal): Promise<boolean> {
  try {
    await deps.succeeded(await stop(deps, target), signal);
    return true;
  } catch (error) {
    if (isStillpointError(error, "TARGET_BUSY")) return false;
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
    const drain = workload.spec !== undefined && "drain" in workload.spec ? workload.spec.drain : undefined;
    const isLive = live.has(workload.state);
    return { isLive, operation: workload.operation, asksToMove: drain === "DRAIN_POLICY_MOVE" };
  } catch (error) {
    if (isStillpointError(error, "CONTAINER_NOT_FOUND") || isStillpointError(error, "VM_NOT_FOUND")) return undefined;
    throw error;
  }
}
