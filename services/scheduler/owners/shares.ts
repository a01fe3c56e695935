import type { SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import { ownerAmong } from "./rendezvous.ts";

interface Share {
  readonly owner: string | undefined;
  readonly sinceMs: number;
}

/** Which replicas there are, which hosts each owns by that, and since when. */
export class Shares {
  readonly #members = new Map<string, SchedulerReplica>();
  readonly #hosts = new Map<string, Share>();
  #epoch = 0;
  #changedMs = 0;

  /** Version of the newest change of the membership. */
  get epoch(): number {
    return this.#epoch;
  }

  get members(): ReadonlyMap<string, SchedulerReplica> {
    return this.#members;
  }

  /** A replica that was there already does not change the membership. */
  has(replica: string): boolean {
    return this.#members.has(replica);
  }

  /** A replica has come. `version` of its record; `nowMs` is monotonic, here as everywhere. */
  join(replica: SchedulerReplica, version: number, nowMs: number): void {
    this.#members.set(replica.name, replica);
    this.#changed(version, nowMs);
  }

  leave(replica: string, version: number, nowMs: number): void {
    if (this.#members.delete(replica)) this.#changed(version, nowMs);
  }

  ownerOf(host: string): SchedulerReplica | undefined {
    return this.#members.get(this.#share(host).owner ?? "");
  }

  /** Since when it has been the same. */
  sinceMs(host: string): number {
    return this.#share(host).sinceMs;
  }

  #changed(version: number, nowMs: number): void {
    this.#epoch = Math.max(this.#epoch, version);
    this.#changedMs = nowMs;
    for (const [host, { owner }] of this.#hosts) {
      const next = ownerAmong(this.#members.keys(), host);
      if (next !== owner) this.#hosts.set(host, { owner: next, sinceMs: nowMs });
    }
  }

  #share(host: string): Share {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const share = { owner: ownerAmong(this.#members.keys(), host), sinceMs: this.#changedMs };
    this.#hosts.set(host, share);
    return share;
  }
}
