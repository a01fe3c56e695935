import type { StoredOperation } from "./operation-record.ts";
import type { Transition } from "./operation-state.ts";

/** A worker's promise to run an operation that its own process is about to accept. */
export interface Place {
  /** Makes the operation one that this worker has claimed. */
  readonly claimed: Transition;
  /** Runs it from the state in which it was accepted, claimed by this worker or by nobody. */
  begin(stored: StoredOperation): void;
  /** Gives the place up; says nothing once it has begun. */
  leave(): void;
}

export interface OwnWorker {
  /** Undefined when it has no such job, no room, or the operation in hand. */
  place(id: string, kind: string): Place | undefined;
}

/**
 * The workers of this process. What it accepts itself they need not hear of through the queue, which would cost as much
 * again as a short operation does; what they have no room for goes there.
 */
export class OwnWorkers {
  readonly #workers = new Set<OwnWorker>();

  /** Gives the way to take it away. */
  add(worker: OwnWorker): () => void {
    this.#workers.add(worker);
    return () => void this.#workers.delete(worker);
  }

  place(id: string, kind: string): Place | undefined {
    for (const worker of this.#workers) {
      const place = worker.place(id, kind);
      if (place !== undefined) return place;
    }
    return undefined;
  }
}
