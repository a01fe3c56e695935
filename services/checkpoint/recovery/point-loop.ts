import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { Vm } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { parseWorkloadName, recoveryName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { RecordStore, RecordView, StoredRecord } from "#libs/records";
import { isDue, isLate } from "../domain/recovery-point.ts";
import { recoveryPrincipal } from "../schedules/act-on-vm.ts";
import { type PointDeps, type PointInput, pointKind, removePoints } from "./point-job.ts";
import {
  asksForPoints,
  intervalMsOf,
  newState,
  pointEvent,
  pointOf,
  standingOf,
  workloadOfState,
} from "./recovery-record.ts";

export interface PointLoopDeps extends Pick<PointDeps, "registry"> {
  readonly states: RecordStore<RecoveryState>;
  readonly stateView: Pick<RecordView<RecoveryState>, "get" | "list">;
  readonly workloadViews: readonly Pick<RecordView<Vm>, "get" | "list">[];
  readonly vms: RecordStore<Vm>;
  readonly hosts: RecordStore<Host>;
  readonly operations: Pick<Operations, "accept" | "get">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

type StoredState = StoredRecord<RecoveryState>;

const everyMs = 1_000;
/** So long the first point waits for a guest's agent after a start: without it there is no production checkpoint. */
const agentWithinMs = 60_000;

/**
 * Has recovery points taken of every workload that is to be recovered, as each comes due, and forgets those of workloads
 * that are gone. Any number of replicas may: the compare-and-set on a workload's state keeps a point from being taken twice.
 */
export async function keepRecoveryPoints(deps: PointLoopDeps): Promise<void> {
  const { workloadViews, stateView, clock, logger, signal } = deps;
  const each = async (name: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (err) {
      const isOthers = isStillpointError(err, "RECORD_CONFLICT") || isStillpointError(err, "TARGET_BUSY");
      if (!signal.aborted && !isOthers)
        logger.warn({ err, workload: name }, "its recovery point cannot be seen to now");
    }
  };
  while (!signal.aborted) {
    const running = workloadViews.flatMap((view) => view.list()).filter(({ body }) => asksForPoints(body));
    for (const vm of running) await each(vm.name, () => seeTo(deps, vm));
    for (const state of stateView.list()) await each(state.name, () => forgetGone(deps, state));
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
}

/** A look at what is in memory, which costs nothing, before anything is read or written. */
async function seeTo(deps: PointLoopDeps, vm: StoredRecord<Vm>): Promise<void> {
  const now = deps.clock.now();
  const intervalMs = intervalMsOf(vm.body);
  const known = deps.stateView.get(recoveryName(vm.name));
  if (known?.body.workloadUid === vm.uid) {
    const standing = standingOf(known.body);
    const isWarned = known.body.point?.late === true;
    if (isLate(standing, now, intervalMs) && !isWarned) await warn(deps, known.name, intervalMs);
    if (!isDue(standing, now, intervalMs)) return;
  }
  if (!isReadyForFirst(known, vm.body, now)) return;
  await begin(deps, vm, intervalMs);
}

function isReadyForFirst(known: StoredState | undefined, { guestAgent, startTime }: Vm, now: Date): boolean {
  const isFirst = (known?.body.point?.reference ?? "") === "";
  if (!isFirst || guestAgent === undefined || guestAgent.connected) return true;
  // Its host's clock may be hours ahead of this one.
  return Math.abs(now.getTime() - (startTime?.getTime() ?? 0)) > agentWithinMs;
}

async function begin(deps: PointLoopDeps, vm: StoredRecord<Vm>, intervalMs: number): Promise<void> {
  const { operations, hosts, clock } = deps;
  // Nobody answers there, and what holds the workload then would only be in the way of its recovery.
  if ((await hosts.get(vm.body.host))?.body.state === HostState.DOWN) return;
  const stored = await stateOf(deps, vm);
  const now = clock.now();
  if (stored === undefined || !isDue(standingOf(stored.body), now, intervalMs)) return;
  if (stored.operation !== undefined && (await operations.get(stored.operation))?.done === false) return;
  const { name } = stored;
  const input: PointInput = { workloadUid: vm.uid, key: now.toISOString() };
  const { project } = parseWorkloadName(vm.name);
  await operations.accept<RecoveryState>(
    { kind: pointKind, target: name, project, principal: recoveryPrincipal.name, input: { ...input } },
    {
      codec: RecoveryState,
      uid: vm.uid,
      expect: ({ body }) => refuseOther(body, stored.body),
      change: ({ body }) => ({ body: { ...body, attemptTime: now } }),
    },
  );
}

/** Another replica has begun the same point. */
function refuseOther(found: RecoveryState, seen: RecoveryState): void {
  if (found.attemptTime?.getTime() === seen.attemptTime?.getTime()) return;
  throw new StillpointError("RECORD_CONFLICT", `${found.name} is seen to by another replica`);
}

/** From the leader; made when it is the first, and anew for another incarnation. Undefined when another was faster. */
async function stateOf({ states, clock }: PointLoopDeps, vm: StoredRecord<Vm>): Promise<StoredState | undefined> {
  const name = recoveryName(vm.name);
  const stored = await states.get(name);
  if (stored?.body.workloadUid === vm.uid) return stored;
  if (stored !== undefined) return undefined;
  return states.create(name, { uid: vm.uid, body: newState(vm, clock.now()) });
}

async function warn({ states, clock }: PointLoopDeps, name: string, intervalMs: number): Promise<void> {
  await states.modify(name, ({ body }) => {
    const standing = standingOf(body);
    if (!isLate(standing, clock.now(), intervalMs) || body.point?.late === true) return undefined;
    const point = { ...pointOf(body), late: true };
    const { time, failureReason, failureMessage } = point;
    const data = {
      time: time?.toISOString() ?? "",
      askedForSeconds: intervalMs / 1_000,
      failureReason,
      failureMessage,
    };
    return { body: { ...body, point }, events: [pointEvent("recovery_point_late", body, data)] };
  });
}

/** Its points go out of the registry with it. */
async function forgetGone({ states, vms, workloadViews, registry, signal }: PointLoopDeps, state: StoredState) {
  const workload = workloadOfState(state);
  if (workloadViews.some((view) => view.get(workload)?.uid === state.body.workloadUid)) return;
  if ((await vms.get(workload))?.uid === state.body.workloadUid) return;
  const stored = await states.get(state.name);
  if (stored?.body.workloadUid !== state.body.workloadUid) return;
  await removePoints(registry, stored.body.kept, signal);
  await states.remove(stored, []);
}
