import type { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { RecoveryPoint as Point, Recovery, type RecoveryPoint, type Vm, VmState } from "#contracts/vm/v1/vm";
import { recoveryName } from "#libs/names";
import type { RecordEvent, StoredRecord } from "#libs/records";
import { defaultIntervalMs, type Standing } from "../domain/recovery-point.ts";
import { containerOf, isContainerName } from "../records/workload-record.ts";

/** True where points are to be taken now: it runs, and is to be recovered. */
export function asksForPoints(body: Vm): boolean {
  return body.state === VmState.RUNNING && policyOf(body)?.recovery === Recovery.RESTART;
}

/** How often, in milliseconds. */
export function intervalMsOf(body: Vm): number {
  const asked = policyOf(body)?.recoveryPoint;
  return asked === undefined ? defaultIntervalMs : asked.seconds * 1_000 + asked.nanos / 1e6;
}

export function standingOf({ point, since, attemptTime }: RecoveryState): Standing {
  const hasFailed = (point?.failureReason ?? "") !== "";
  return { pointTime: point?.time, since: since ?? new Date(0), attemptTime, hasFailed };
}

/** Where its points are pushed to: a repository of its own. */
export function repositoryOf(workload: string): string {
  const [, project = "", , name = ""] = workload.split("/");
  return isContainerName(workload) ? `recovery/${project}/containers/${name}` : `recovery/${project}/${name}`;
}

/** The state of a workload that has none yet. */
export function newState({ name, uid }: Pick<StoredRecord<Vm>, "name" | "uid">, since: Date): RecoveryState {
  return { name: recoveryName(name), workloadUid: uid, point: undefined, kept: [], since, attemptTime: undefined };
}

export const pointOf = ({ point }: RecoveryState): RecoveryPoint => point ?? Point.fromPartial({});

/** The workload that a state is of. */
export const workloadOfState = ({ name }: Pick<RecoveryState, "name">): string => name.slice(0, -"/recovery".length);

/** An event of the workload. */
export function pointEvent(happened: string, state: RecoveryState, data: RecordEvent["data"]): RecordEvent {
  const workload = workloadOfState(state);
  const aggregate = isContainerName(workload) ? "container" : "vm";
  return { aggregate, happened, data: { uid: state.workloadUid, workload, ...data } };
}

const policyOf = (body: Vm) => containerOf(body)?.spec ?? body.spec;
