import { isStillpointError } from "#libs/errors";
import type { Api } from "../harness/api.ts";

/** Watchers of VMs and of events that go on for ever: what they get never goes back, and leaves nothing out (I9). */
export class Watched {
  readonly counts = { events: 0, changes: 0, resyncs: 0 };
  readonly failures: string[] = [];
  readonly #stop = new AbortController();
  readonly #watching: Promise<unknown>;

  constructor(api: Api, parent: string) {
    this.#watching = Promise.all([
      this.#again("watchVms", () => this.#vms(api, parent)),
      this.#again("watchEvents", () => this.#events(api)),
    ]);
  }

  stop(): void {
    this.#stop.abort();
  }

  async untilStopped(): Promise<void> {
    await this.#watching;
  }

  async #again(what: string, watch: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await watch();
      } catch (error) {
        if (signal.aborted) return;
        // Asked to begin anew, as a watcher may be.
        if (isStillpointError(error, "RESYNC")) this.counts.resyncs++;
        else this.failures.push(`${what}: ${wordsOf(error)}`);
      }
    }
  }

  async #vms({ vms }: Api, parent: string): Promise<void> {
    let last = 0;
    for await (const { kind, token = 0 } of vms.watchVms({ parent }, { signal: this.#stop.signal })) {
      const isChange = kind === "KIND_CHANGED" || kind === "KIND_DELETED";
      if (isChange && token <= last) this.failures.push(`I9: a change of a VM came again: ${token} after ${last}`);
      if (isChange) this.counts.changes++;
      last = Math.max(last, token);
    }
  }

  async #events({ events }: Api): Promise<void> {
    let last = 0;
    for await (const { token } of events.watchEvents({ follow: true, since: "0" }, { signal: this.#stop.signal })) {
      // They begin anywhere, and have no gap from there on.
      if (last > 0 && Number(token) !== last + 1) this.failures.push(`I9: event ${token} came after ${last}`);
      last = Number(token);
      this.counts.events++;
    }
  }
}

export const wordsOf = (error: unknown): string =>
  `${isStillpointError(error) ? `${error.reason}: ` : ""}${error instanceof Error ? error.message : String(error)}`;
