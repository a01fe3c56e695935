import type { Clock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { appendSurely, isUnanswered, type Log } from "#libs/records";
import {
  decodeOperation,
  encodeOperation,
  epochOf,
  type OperationRecord,
  type StoredOperation,
  subjectOfOperation,
} from "./operation-record.ts";
import type { Transition } from "./operation-state.ts";

/** How long to wait for a log that does not answer. */
export interface WritePatience {
  readonly forMs: number;
  readonly signal?: AbortSignal;
}

/** Below the server's default limit of 1 MiB for a message. */
const MAX_BYTES = 900 * 1024;
const READ_AGAIN_MS = 500;

/** Operations in their log: every write is one transition of one known state. */
export class OperationLog {
  readonly #log: Log;
  readonly #clock: Clock;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  async read(id: string): Promise<StoredOperation | undefined> {
    const message = await this.#log.read(subjectOfOperation(id));
    return message === undefined ? undefined : decodeOperation(message);
  }

  /**
   * As `read`, but that there is none is believed of more than one node alone: one that is cut off takes itself for the
   * leader for some seconds, and has not heard of what was accepted since. Fails with UNAVAILABLE where most do not answer.
   */
  async find(id: string): Promise<StoredOperation | undefined> {
    const stored = await this.read(id);
    if (stored !== undefined) return stored;
    const [message] = await this.#log.newest(subjectOfOperation(id));
    return message === undefined ? undefined : decodeOperation(message);
  }

  /**
   * As `find`, waiting as long as it takes for a log that does not answer, and a moment where it has nothing newer than
   * what is known: a node that is cut off tells of the past, and a conflict may be with a write that is never finished.
   */
  async readNewer(known: StoredOperation, signal: AbortSignal): Promise<StoredOperation | undefined> {
    const { id } = known.record;
    for (;;) {
      const found = await this.find(id).then((stored) => ({ stored }), unlessUnanswered);
      if (found !== undefined && (found.stored?.version ?? Number.POSITIVE_INFINITY) > known.version)
        return found.stored;
      await this.#clock.sleep(READ_AGAIN_MS, signal);
      if (found !== undefined) return known;
    }
  }

  /** Writes the first state; fails with RECORD_CONFLICT when there is one already. */
  async create(record: OperationRecord, patience: WritePatience): Promise<StoredOperation> {
    return await this.#append(record, 0, patience);
  }

  /** Writes the next state over the one that is known; fails with RECORD_CONFLICT when that is not the newest. */
  async move(stored: StoredOperation, transition: Transition, write: string, patience: WritePatience) {
    const next = transition(stored.record);
    const isNewClaim = next.claim !== stored.record.claim;
    const claim = isNewClaim || next.claim === undefined ? {} : { claim: { ...next.claim, epoch: epochOf(stored) } };
    const updateTime = this.#clock.now().toISOString();
    return await this.#append({ ...next, ...claim, updateTime, write }, stored.version, patience);
  }

  /** Reads and moves until it has happened; undefined when there is no such operation or `wanted` says no. */
  async modify(
    id: string,
    options: { wanted: (record: OperationRecord) => boolean; transition: Transition; write: string },
    patience: WritePatience,
  ): Promise<StoredOperation | undefined> {
    for (;;) {
      const stored = await this.find(id);
      if (stored === undefined || !options.wanted(stored.record)) return stored;
      try {
        return await this.move(stored, options.transition, `${options.write}.${stored.version}`, patience);
      } catch (error) {
        if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      }
    }
  }

  async #append(record: OperationRecord, expectedSequence: number, patience: WritePatience): Promise<StoredOperation> {
    const subject = subjectOfOperation(record.id);
    const data = encodeOperation(record);
    if (data.byteLength > MAX_BYTES) {
      throw new StillpointError("ARGUMENT_INVALID", `operation ${record.id} would take ${data.byteLength} bytes`);
    }
    const write = { subject, data, expectedSequence, messageId: record.write };
    const version = await appendSurely(this.#log, write, { clock: this.#clock, ...patience });
    return { record, version };
  }
}

function unlessUnanswered(error: unknown): undefined {
  if (!isUnanswered(error)) throw error;
}
