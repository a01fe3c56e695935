import type { Container } from "#contracts/container/v1/container";
import type { ContainerStatus, Observation } from "#contracts/host/v1/agent";
import { isStillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { RecordStore, StoredRecord } from "#libs/records";
import { foldObserved, foldStorage, observed, type Readiness, tellOfLease } from "#libs/workloads";
import { foldStatus, foldWorkload } from "./container-record.ts";
import { isUnwhole } from "./domain/container-state.ts";

export interface ObservationsDeps {
  readonly records: RecordStore<Container>;
  readonly agents: Pick<HostAgents, "getWorkload">;
  readonly readiness: Pick<Readiness<Container>, "fold">;
}

const askWithinMs = 2_000;

/**
 * Folds what an agent saw into the record of its container, also while an operation holds it; never touches who holds
 * it. An observation may come late or twice: it is the reason to ask the host how the container is now. False when it
 * has to be tried again later, as the container has no host yet.
 */
export async function foldObservation(deps: ObservationsDeps, observation: Observation): Promise<boolean> {
  const { records, readiness } = deps;
  const { happened } = observation;
  if (happened?.$case === "lease") return tellOfLease(records, { word: "container" }, observation, happened.value);
  const stored = await observed(records, observation);
  if (stored === "nobody" || stored === "early") return stored === "nobody";
  switch (happened?.$case) {
    case "container":
      return foldSeen(deps, stored, observation, happened.value);
    case "readiness":
      return foldObserved(records, observation, (body) => readiness.fold(body, happened.value));
    case "storage":
      return foldObserved(records, observation, (body) => foldStorage(body, happened.value));
    case "digests":
    // Of VMs only.
    case "state":
    case "guestAgent":
    case "foundFrozen":
    case undefined:
      return true;
  }
}

async function foldSeen(
  deps: ObservationsDeps,
  stored: StoredRecord<Container>,
  observation: Observation,
  seen: ContainerStatus,
): Promise<boolean> {
  // What has happened since comes after the word of the operation that makes or removes it.
  if (isUnwhole(stored.body.state)) return stored.operation === undefined;
  const { host, uid, reason } = observation;
  const workload = await deps.agents.getWorkload({ host, uid }, AbortSignal.timeout(askWithinMs));
  if (workload?.container === undefined) return true;
  const isBetween = goneOn(stored.body, seen, workload.container);
  const { body, events } = isBetween ? foldStatus(stored.body, seen) : foldWorkload(stored.body, workload, reason);
  if (events.length === 0 && isSame(stored.body, body)) return true;
  try {
    await deps.records.update(stored, { body, events });
    return true;
  } catch (error) {
    // Someone else wrote meanwhile: what the host said may be older than that.
    if (isStillpointError(error, "RECORD_CONFLICT")) return foldObservation(deps, observation);
    throw error;
  }
}

/**
 * Whether the host has gone on since it was seen so, and the record has yet to: then what was seen is folded by itself,
 * as the host tells of each change that came after it. An older word says nothing.
 */
function goneOn(container: Container, seen: ContainerStatus, now: ContainerStatus): boolean {
  const lastChange = ({ startTime, lastExit }: Pick<ContainerStatus, "startTime" | "lastExit">) =>
    Math.max(startTime?.getTime() ?? 0, lastExit?.time?.getTime() ?? 0);
  return lastChange(container) < lastChange(seen) && lastChange(seen) < lastChange(now);
}

function isSame(one: Container, other: Container): boolean {
  const facts = ({ state, stateReason, restarts, health, startTime, lastExit }: Container) =>
    JSON.stringify([state, stateReason, restarts, health, startTime, lastExit]);
  return facts(one) === facts(other);
}
