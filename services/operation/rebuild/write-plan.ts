import type { Clock, Random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import { type Json, type Log, LogRecordStore, rawCodec } from "#libs/records";
import { type Finding, finding, type PlannedWrite } from "./known.ts";

export interface WriteDeps {
  /** Stream REC. */
  readonly records: Log;
  readonly clock: Clock;
  readonly random: Random;
}

/** Writes what is planned: each over the very state that the plan was made by. */
export class PlanWriter {
  readonly #store: LogRecordStore<Json>;

  constructor({ records, ...ports }: WriteDeps) {
    this.#store = new LogRecordStore({ ...ports, log: records, codec: rawCodec });
  }

  /** Gives a finding when it could not be written. */
  async write(planned: PlannedWrite): Promise<Finding | undefined> {
    try {
      await this.#write(planned);
      return undefined;
    } catch (error) {
      const { name, uid } = planned;
      if (isStillpointError(error, "RECORD_CONFLICT")) {
        return finding("failed", name, { uid, detail: "someone else wrote it meanwhile: ask again" });
      }
      if (!isStillpointError(error) || error.reason === "UNAVAILABLE") throw error;
      return finding("failed", name, { uid, detail: error.message });
    }
  }

  async #write({ name, uid, body, events, over }: PlannedWrite): Promise<void> {
    const found = over === 0 ? undefined : await this.#store.get(name);
    const stored = found?.version === over ? found : undefined;
    if (body === undefined) {
      if (stored !== undefined) await this.#store.remove(stored, events);
    } else if (stored?.uid === uid) {
      await this.#store.update(stored, { body, events });
    } else {
      await this.#store.createOver(name, { uid, body, events }, over);
    }
  }
}
