import { checkpointName } from "#libs/names";
import type { JobContext } from "#libs/operations";
import type { RecordEvent } from "#libs/records";
import { momentsOf } from "../domain/evidence.ts";
import type { CreateInput, Taken } from "./create-state.ts";

/** The guest was held for a moment: told with the times at which that happened, also when the attempt came to nothing. */
export function freezeEvents({ target, input, outputs }: JobContext<CreateInput>): RecordEvent[] {
  const { evidence = {} } = (outputs.production ?? {}) as Partial<Taken>;
  const { checkpointUid, displayName } = input;
  const checkpoint = checkpointName(target, checkpointUid);
  const data = { vm: target, checkpoint, displayName, freeze: evidence.freeze ?? null };
  return Object.entries(momentsOf(evidence)).map(([happened, time]) => ({ aggregate: "vm", happened, time, data }));
}
