import type { Heartbeat } from "#contracts/host/v1/agent";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";

export interface IdentityLimits {
  /** A host that was not heard for this long is down, and its name is free for whoever comes first. */
  readonly downAfterMs: number;
}

/**
 * Who beats under a host's name. believed: the agent that is this host. waiting: the same host, but another start of its
 * agent, which is believed when the one before stays silent; the host lives, its record stays as it is. twin: another
 * agent under this name, while the believed one is heard: it gets no answer. repeated: a heartbeat that was heard
 * before, or is older than one that was.
 */
export type Standing = "believed" | "waiting" | "twin" | "repeated";

/** What the host's record says of who it is. */
export type Recorded = Pick<Host, "uid" | "bootId" | "state">;

/** Monotonic times. */
export interface Listening {
  readonly nowMs: number;
  readonly sinceMs: number;
}

interface Agent {
  readonly hostUid: string;
  readonly bootId: string;
  readonly sequence: number;
  readonly atMs: number;
}

/** Another one than the believed. */
interface Other extends Agent {
  readonly isTwin: boolean;
  /** When it was first heard. */
  readonly sinceMs: number;
}

interface Heard {
  readonly believed?: Agent;
  /** The one that was heard last. */
  readonly other?: Other;
  /** Heartbeats that came out of order, one soon after the other. */
  readonly repeats?: { readonly count: number; readonly atMs: number };
}

/** So many are no accident: two processes go on from one memory. */
const repeatsOfTwins = 3;

/**
 * Tells one agent that was started anew from two that run under one name: of two that run both are heard. The first one
 * stays until it is down.
 */
export class Identities {
  readonly #limits: IdentityLimits;
  readonly #heard = new Map<string, Heard>();

  constructor(limits: IdentityLimits) {
    this.#limits = limits;
  }

  /**
   * `recorded`: undefined for a host of which there is no record. `sinceMs`: since when the host is listened to here;
   * what was heard before that counts no more.
   */
  judge(heartbeat: Heartbeat, recorded: Recorded | undefined, { nowMs, sinceMs }: Listening): Standing {
    const { host, hostUid, bootId, sequence } = heartbeat;
    if ((this.#heard.get(host)?.believed?.atMs ?? sinceMs) < sinceMs) this.forget(host);
    const agent: Agent = { hostUid, bootId, sequence, atMs: nowMs };
    const believed = this.#believed(host, recorded, { nowMs, sinceMs });
    if (believed === undefined) return this.#believe(host, agent);
    return isSame(believed, agent) ? this.#goOn(host, believed, agent) : this.#challenge(host, believed, agent);
  }

  /** For people: the other agent that calls itself by a host's name, while it is heard. */
  twinOf(host: string, nowMs: number): string | undefined {
    const { other } = this.#heard.get(host) ?? {};
    if (other === undefined || !other.isTwin || nowMs - other.atMs >= this.#limits.downAfterMs) return undefined;
    return `another agent calls itself by its name and gets no answer: uid ${other.hostUid}, start ${other.bootId}`;
  }

  /** Nothing is known of a host any more. */
  forget(host: string): void {
    this.#heard.delete(host);
  }

  /** Undefined when the host is down, or was never heard of: whoever comes first is believed. */
  #believed(host: string, recorded: Recorded | undefined, { nowMs, sinceMs }: Listening): Agent | undefined {
    const { believed } = this.#heard.get(host) ?? {};
    if (believed !== undefined && nowMs - believed.atMs < this.#limits.downAfterMs) return believed;
    if (recorded === undefined || recorded.state === HostState.DOWN) return undefined;
    if (believed !== undefined) return believed;
    // This replica has not heard it yet; it may be heard any moment.
    return { hostUid: recorded.uid, bootId: recorded.bootId, sequence: 0, atMs: sinceMs };
  }

  /** A name is free, or the one that held it is silent: what was heard of others counts no more. */
  #believe(host: string, believed: Agent): Standing {
    this.#heard.set(host, { believed });
    return "believed";
  }

  #goOn(host: string, believed: Agent, agent: Agent): Standing {
    const heard = this.#heard.get(host) ?? {};
    if (agent.sequence === 0 || agent.sequence > believed.sequence) {
      this.#heard.set(host, { ...heard, believed: agent });
      return "believed";
    }
    const { count, atMs } = heard.repeats ?? { count: 0, atMs: 0 };
    const repeats = { count: agent.atMs - atMs < this.#limits.downAfterMs ? count + 1 : 1, atMs: agent.atMs };
    const isTwin = repeats.count >= repeatsOfTwins;
    const twin = { other: { ...agent, isTwin, sinceMs: agent.atMs } };
    this.#heard.set(host, { ...heard, believed, repeats, ...(isTwin && twin) });
    return isTwin ? "twin" : "repeated";
  }

  #challenge(host: string, believed: Agent, agent: Agent): Standing {
    const heard = this.#heard.get(host) ?? {};
    const before = heard.other !== undefined && isSame(heard.other, agent) ? heard.other : undefined;
    // The believed one was heard since this one was first: both live.
    const bothLive = before !== undefined && (before.isTwin || believed.atMs > before.sinceMs);
    const isTwin = bothLive || believed.hostUid !== agent.hostUid;
    const silentMs = agent.atMs - believed.atMs;
    if (!isTwin && silentMs >= this.#limits.downAfterMs / 2) return this.#believe(host, agent);
    const other = { ...agent, isTwin, sinceMs: before?.sinceMs ?? agent.atMs };
    this.#heard.set(host, { ...heard, believed, other });
    return isTwin ? "twin" : "waiting";
  }
}

/** An agent of a version that does not say which start it is, is known by its host alone. */
function isSame(a: Agent, b: Agent): boolean {
  return a.hostUid === b.hostUid && (a.bootId === b.bootId || a.bootId === "" || b.bootId === "");
}
