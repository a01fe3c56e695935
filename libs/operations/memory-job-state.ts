import type { JobState, LiveState } from "./job-state.ts";

/** Job state in memory, for tests and the simulator. */
export class MemoryJobState implements JobState {
  readonly #states = new Map<string, LiveState>();

  async write(states: readonly LiveState[]): Promise<void> {
    for (const state of states) this.#states.set(state.operationId, state);
  }

  async read(operationIds: readonly string[]): Promise<(LiveState | undefined)[]> {
    return operationIds.map((id) => this.#states.get(id));
  }

  /** Forgets everything, as a Redis does that has lost its data. */
  flush(): void {
    this.#states.clear();
  }
}
