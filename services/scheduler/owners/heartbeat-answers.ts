import type { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import type { HostRegistry } from "../hosts/host-registry.ts";
import type { HeartbeatListener } from "../nats-heartbeats.ts";
import { type HeldWords, type HeldWordsDeps, wordsOn } from "./held-words.ts";
import { type Ownership, owns } from "./ownership.ts";

export interface HeartbeatAnswersDeps extends HeldWordsDeps {
  readonly registry: Pick<HostRegistry, "notice" | "heard">;
  readonly ownership: Ownership;
  /** How long an answered heartbeat keeps others from running what is placed on its host. */
  readonly leaseMs: number;
}

const nothing: HeldWords = { resumeUids: [], endUids: [] };

/** What hosts get back for their heartbeats: their lease, from their owner. */
export class HeartbeatAnswers implements HeartbeatListener {
  readonly #deps: HeartbeatAnswersDeps;

  constructor(deps: HeartbeatAnswersDeps) {
    this.#deps = deps;
  }

  /** A host has spoken; false when what it says is for another replica to read. */
  notice(host: string): boolean {
    return this.#deps.registry.notice(host);
  }

  /** Undefined: no answer. That is the next heartbeat's, or another replica's. */
  async answer(heartbeat: Heartbeat): Promise<HeartbeatAck | undefined> {
    const { registry, ownership, leaseMs } = this.#deps;
    if (!(await registry.heard(heartbeat))) return undefined;
    const words = heartbeat.held.length === 0 ? nothing : await wordsOn(this.#deps, heartbeat);
    // It may have lost the host while it wrote and read.
    if (!owns(ownership, heartbeat.host)) return undefined;
    const { hostUid, bootId, sequence } = heartbeat;
    return { hostUid, bootId, sequence, epoch: ownership.epoch, ttlMs: leaseMs, ...words };
  }
}
