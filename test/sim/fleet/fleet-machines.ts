import { Recovery } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { LeaseFence } from "../../../services/agent/lease/host-lease.ts";
import { SimGuard } from "../cluster/sim-guard.ts";
import type { KeptVm, Machines } from "../kept-vms.ts";
import type { RunLedger } from "./run-ledger.ts";

export interface FleetMachinesDeps {
  /** hosts/<host> */
  readonly host: string;
  readonly clock: Clock;
  readonly ledger: RunLedger;
  readonly random: () => number;
}

/**
 * The processes of a host, which outlive its agents: those of VMs with recovery are children of a simulated fence guard,
 * which pauses them at the lease's end; the others run whatever happens.
 */
export class FleetMachines implements Machines {
  readonly #deps: FleetMachinesDeps;
  readonly #guard: SimGuard;
  readonly #unguarded = new Set<string>();

  constructor(deps: FleetMachinesDeps) {
    this.#deps = deps;
    const { clock, host, ledger: history, random: next } = deps;
    const random = { below: (limit: number) => Math.floor(next() * limit) };
    this.#guard = new SimGuard({ random, history, mutations: {} }, clock, host);
  }

  has(uid: string): boolean {
    return this.#unguarded.has(uid) || this.#guard.list().includes(uid);
  }

  isHeld(uid: string): boolean {
    return this.#guard.heldAtMs(uid) !== undefined;
  }

  /** The guard is a process of its own: that this one is late to pause something does not let it run. */
  runsNow(uid: string): boolean {
    return this.#unguarded.has(uid) || (this.#guard.runs(uid) && this.#guard.hasLease);
  }

  start({ uid, definition }: KeptVm): void {
    const { ledger, host } = this.#deps;
    if (definition.recovery !== Recovery.RESTART) {
      this.#unguarded.add(uid);
      ledger.runs(host, uid, "starts");
    } else if (!this.#guard.start(uid)) {
      throw new StillpointError("LEASE_EXPIRED", `${host} has no lease`);
    }
  }

  end(uid: string, why: string): void {
    this.#guard.end(uid, why);
    if (this.#unguarded.delete(uid)) this.#deps.ledger.rests(this.#deps.host, uid, why);
  }

  /** The power fails. */
  die(): void {
    this.#guard.die();
    for (const uid of this.#unguarded) {
      this.end(uid, "its host dies");
      this.#deps.ledger.lost();
    }
  }

  /** The guard as one agent sees it. */
  fence(): LeaseFence {
    const guard = this.#guard;
    let deadlineMs = 0;
    return {
      listen(listener) {
        guard.listener = listener;
      },
      list: () => guard.list(),
      find: (uid) => (guard.list().includes(uid) ? { heldAtMs: guard.heldAtMs(uid) } : undefined),
      renew(untilMs) {
        deadlineMs = Math.max(deadlineMs, untilMs);
        guard.renew(deadlineMs);
      },
      get deadlineMs() {
        return deadlineMs;
      },
      resume: (uid) => guard.resume(uid),
      isSilent: () => false,
      holdByForce: (uid) => guard.hold(uid),
      close() {
        guard.listener = () => undefined;
      },
    };
  }
}
