import { ContainerState } from "#contracts/container/v1/container";
import { WorkloadState } from "#contracts/host/v1/agent";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Step } from "#libs/operations";
import { heldWorkload } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { mayPass, patiently } from "../move/patiently.ts";
import { startThere } from "../move/there.ts";
import type { RecoverContext, RecoverDeps, RecoverInput } from "./recover-state.ts";

/** Longer than a host takes that was not heard of, and is back or down. */
const patienceMs = 60_000;

/** The host is back, or the workload is elsewhere. */
export const notDown = (workload: string, host: string): StillpointError =>
  new StillpointError("RECOVERY_NOT_NEEDED", `${workload} needs no recovery: ${host} is not down, or not its host`);

export async function isAway<Body extends WorkloadBody>({ hosts }: RecoverDeps<Body>, host: string): Promise<boolean> {
  return (await hosts.get(host))?.body.state === HostState.DOWN;
}

/**
 * Ends the recovery of a workload whose host is back. A step of its own: its host starts the workload only by the word of
 * a scheduler, who reads there that it stays. When the host is down again, that is for another recovery.
 */
export function stayStep<Body extends WorkloadBody>(deps: RecoverDeps<Body>): Step<RecoverInput> {
  return {
    name: "stay",
    skip: async ({ outputs }) => outputs.check?.stays !== true,
    async run(context) {
      const { body } = await heldWorkload(deps, context);
      const { target, input } = context;
      if (await isAway(deps, input.from)) {
        throw new StillpointError(
          "RECOVERY_NOT_NEEDED",
          `${input.from}, the host of ${target}, was back, and is down again`,
        );
      }
      return await stay(deps, context, body);
    },
  };
}

/**
 * Its host may be back before it was given up to bring it elsewhere: one that did not only wait there for a word is
 * started by nobody else. With its host down, or without an answer, it is as it was.
 */
export async function startWhereItStays<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
): Promise<void> {
  const { signal, target, operationId, input } = context;
  const isHopeless = () => isAway(deps, input.from);
  const stored = await deps.records.get(target);
  if (stored?.operation !== operationId || stored.body.host !== input.from || (await isHopeless())) return;
  const patience = { clock: deps.clock, signal, forMs: patienceMs, isHopeless };
  await patiently(patience, () => stay(deps, context, stored.body)).catch((error: unknown) => {
    if (!isStillpointError(error, "RECOVERY_NOT_NEEDED") && !mayPass(error)) throw error;
  });
}

/**
 * A workload whose host is back stays there, and runs: what held it may have been ended before it started it there, or
 * between its end and its start; or it has ended with the host. One that was paused for want of a lease goes on there by
 * itself. What was powered off meanwhile, as its record says, stays off.
 * @throws StillpointError RECOVERY_NOT_NEEDED in the end; what may pass is tried again, with another look at the host
 */
async function stay<Body extends WorkloadBody>(
  deps: RecoverDeps<Body>,
  context: RecoverContext,
  body: Body,
): Promise<never> {
  const { host, uid } = body;
  const { target, input } = context;
  if (host !== input.from) throw notDown(target, input.from);
  const there = await deps.agents.getWorkload({ host, uid }, context.signal);
  // A container that ended by itself is its restart policy's to start.
  const isOff = there?.state === WorkloadState.STOPPED || there?.container?.state === ContainerState.STOPPED;
  const isMeantToRun = deps.moving.isLive(body.state) && isOff;
  if (!isMeantToRun && there?.state !== WorkloadState.CRASHED) throw notDown(target, host);
  const { failure } = await startThere(deps, context, host);
  if (failure === undefined) throw notDown(target, host);
  throw new StillpointError(
    "RECOVERY_NOT_NEEDED",
    `${target} is on ${host}, which is back, and does not start: ${failure}`,
  );
}
