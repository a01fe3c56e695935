import { type LeaseChange, LeaseHappened, type Observation } from "#contracts/host/v1/agent";
import type { RecordStore } from "#libs/records";
import { type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";
import { foldObserved } from "./observed.ts";

const words: Readonly<Partial<Record<LeaseHappened, string>>> = {
  [LeaseHappened.PAUSED]: "lease_paused",
  [LeaseHappened.RESUMED]: "lease_resumed",
  [LeaseHappened.ENDED]: "lease_ended",
};

/**
 * Tells what the lease of a host did to a workload, also of a host that it has left: there it was ended. Nobody asks
 * any more of one that is gone.
 */
export function tellOfLease<Body extends WorkloadBody>(
  records: RecordStore<Body>,
  kind: Pick<WorkloadKind<Body>, "word">,
  observation: Observation,
  { what, holdTime, endTime }: LeaseChange,
): Promise<true> {
  const { host, reason } = observation;
  const word = words[what];
  const data = { host, reason, holdTime: holdTime?.toISOString(), endTime: endTime?.toISOString() };
  return foldObserved(records, observation, (body) =>
    word === undefined ? undefined : { body, events: [workloadEvent(kind, word, body, data)] },
  );
}
