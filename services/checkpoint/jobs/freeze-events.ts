import { checkpointName } from "#libs/names";
import type { JobContext } from "#libs/operations";
import type { RecordEvent } from "#libs/records";
import { momentsOf } from "../domain/evidence.ts";
import { isContainerName } from "../records/workload-record.ts";
import type { CreateInput, Taken } from "./create-state.ts";

/** A workload was held for a moment: told with the times at which that happened, also when the attempt came to nothing. */
export function freezeEvents({ target, input, outputs }: JobContext<CreateInput>): RecordEvent[] {
  const { evidence = {} } = (outputs.production ?? {}) as Partial<Taken>;
  const { checkpointUid, displayName } = input;
  const checkpoint = checkpointName(target, checkpointUid);
  const ofContainer = { container: target, checkpoint, displayName, pause: evidence.pause ?? null };
  const ofVm = { vm: target, checkpoint, displayName, freeze: evidence.freeze ?? null };
  const about = isContainerName(target)
    ? { aggregate: "container", data: ofContainer }
    : { aggregate: "vm", data: ofVm };
  return momentsOf(evidence).map((moment) => ({ ...about, ...moment }));
}
