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
