import type { LeasedWorkloads } from "./host-lease.ts";

/** VMs and containers: each passes over the uids of the other. */
export class LeasedKinds implements LeasedWorkloads {
  readonly #kinds: readonly LeasedWorkloads[];

  constructor(kinds: readonly LeasedWorkloads[]) {
    this.#kinds = kinds;
  }

  paused(uid: string, atMs: number): void {
    for (const kind of this.#kinds) kind.paused(uid, atMs);
  }

  async resumed(uid: string): Promise<void> {
    await Promise.all(this.#kinds.map((kind) => kind.resumed(uid)));
  }

  gone(uid: string): void {
    for (const kind of this.#kinds) kind.gone(uid);
  }

  async leaveBehind(uid: string): Promise<void> {
    await Promise.all(this.#kinds.map((kind) => kind.leaveBehind(uid)));
  }

  async describe(uids: readonly string[]) {
    return (await Promise.all(this.#kinds.map((kind) => kind.describe(uids)))).flat();
  }

  async leftBehind() {
    return (await Promise.all(this.#kinds.map((kind) => kind.leftBehind()))).flat();
  }
}
