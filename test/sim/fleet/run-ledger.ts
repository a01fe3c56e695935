/** A simulated host, as far as it is asked whether it truly runs something. */
export interface Runner {
  /** It runs at this moment: it is not paused, and the lease under which it may run has not ended. */
  runsNow(uid: string): boolean;
}

/** How often each thing happened to VMs of the fleet. */
export interface RunCounts {
  starts: number;
  paused: number;
  resumed: number;
  /** Left behind, as it runs elsewhere. */
  ended: number;
  /** Their host lost its power. */
  lost: number;
}

/**
 * What truly runs where, as the hosts know it and not the control plane: at every start it is looked whether the same VM
 * runs on another host.
 */
export class RunLedger {
  readonly violations: string[] = [];
  readonly counts: RunCounts = { starts: 0, paused: 0, resumed: 0, ended: 0, lost: 0 };
  readonly #hosts = new Map<string, Runner>();
  /** By uid, the hosts on which it has a process, paused or not. */
  readonly #on = new Map<string, Set<string>>();
  readonly #note: (line: string) => void;

  constructor(note: (line: string) => void) {
    this.#note = note;
  }

  knows(name: string, host: Runner): void {
    this.#hosts.set(name, host);
  }

  /** Where it runs at this moment. */
  runningOn(uid: string): string[] {
    return [...(this.#on.get(uid) ?? [])].filter((host) => this.#hosts.get(host)?.runsNow(uid) === true);
  }

  leased(): void {
    // Said of each heartbeat's answer: nothing to write down.
  }

  runs(host: string, uid: string, how: "starts" | "goes on"): void {
    this.counts[how === "starts" ? "starts" : "resumed"]++;
    if (how === "goes on") this.#note(`${host}: ${uid} goes on`);
    const others = this.runningOn(uid).filter((other) => other !== host);
    if (others.length > 0) this.violate(`${uid} ${how} on ${host} while it runs on ${others.join()}`);
    this.#on.set(uid, (this.#on.get(uid) ?? new Set()).add(host));
  }

  rests(host: string, uid: string, why: string): void {
    if (why === "is paused") {
      this.counts.paused++;
      this.#note(`${host}: ${uid} is paused`);
      return;
    }
    if (why === "it is left behind") this.counts.ended++;
    this.#on.get(uid)?.delete(host);
    if (this.#on.get(uid)?.size === 0) this.#on.delete(uid);
  }

  lost(): void {
    this.counts.lost++;
  }

  violate(what: string): void {
    this.violations.push(what);
    this.#note(`VIOLATION ${what}`);
  }
}
