import { type Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import type { HostRegistry } from "../hosts/host-registry.ts";
import { type Ownership, owns } from "./ownership.ts";

export interface HeartbeatAnswersDeps {
  readonly registry: Pick<HostRegistry, "heard">;
  readonly ownership: Ownership;
  /** How long an answered heartbeat keeps others from running what is placed on its host. */
  readonly leaseMs: number;
}

/** What hosts get back for their heartbeats: their lease, from their owner. */
export class HeartbeatAnswers {
  readonly #deps: HeartbeatAnswersDeps;

  constructor(deps: HeartbeatAnswersDeps) {
    this.#deps = deps;
  }

  /** Undefined: no answer. That is the next heartbeat's, or another replica's. */
  async answer(heartbeat: Heartbeat): Promise<HeartbeatAck | undefined> {
    const { registry, ownership, leaseMs } = this.#deps;
    if (!(await registry.heard(heartbeat))) return undefined;
    // It may have lost the host while that was written.
    if (!owns(ownership, heartbeat.host)) return undefined;
    const { hostUid, bootId, sequence } = heartbeat;
    return HeartbeatAck.fromPartial({ hostUid, bootId, sequence, epoch: ownership.epoch, ttlMs: leaseMs });
  }
}
