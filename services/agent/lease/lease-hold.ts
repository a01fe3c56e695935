import { StillpointError } from "#libs/errors";

/** A workload that stands still because the host's lease has run out. */
export class LeaseHold {
  readonly since: Date;
  readonly #over = Promise.withResolvers<void>();

  constructor(since: Date) {
    this.since = since;
  }

  /** Resolves when it goes on, or is no more. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  end(): void {
    this.#over.resolve();
  }
}

/** The refusal of what needs it to run. */
export function heldByLease(name: string): StillpointError {
  return new StillpointError("LEASE_EXPIRED", `${name} stands still: its host cannot reach the control plane`);
}

/** The refusal to start it, although the host has its lease: after an interruption it may have been recovered elsewhere. */
export function unconfirmed(workload: string): StillpointError {
  const why = "its host's lease was interrupted, and the host's owner has not said since that it is to run there";
  return new StillpointError("START_UNCONFIRMED", `${workload} is not started: ${why}`);
}
