import { createHash } from "node:crypto";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { ContainerEngine } from "../container-engine.ts";

export interface ProjectNetworksDeps {
  readonly engine: Pick<ContainerEngine, "createNetwork" | "removeNetwork" | "networks">;
  /** The data folder's host-uid: agents that share an engine have networks of their own. */
  readonly hostData: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** One that is not used stays for so long: making it is a third of the work of starting a container. */
const IDLE_MS = 60_000;

/**
 * One network for each project: its containers reach each other by name, and nobody else's. A network is there as long
 * as a container uses it, and a while longer.
 */
export class ProjectNetworks {
  readonly #deps: ProjectNetworksDeps;
  readonly #users = new Map<string, Set<string>>();
  /** Whether each network is there, after what is being done to it. */
  readonly #there = new Map<string, Promise<boolean>>();
  /** Those that nobody uses; aborted when one does again. */
  readonly #idle = new Map<string, AbortController>();

  constructor(deps: ProjectNetworksDeps) {
    this.#deps = deps;
  }

  /** Makes the network of a project unless it is there, for a container; gives its name. */
  async ensure(project: string, uid: string): Promise<string> {
    const name = this.#nameFor(project);
    this.#usersOf(name).add(uid);
    this.#endIdleness(name);
    await this.#change(name, false, async (isThere) => {
      if (!isThere) await this.#deps.engine.createNetwork(name);
      return true;
    });
    return name;
  }

  /** A container does not use a network any more; right for one that never did, too. */
  release(uid: string): void {
    for (const [name, users] of this.#users) {
      if (users.delete(uid) && users.size === 0) this.#waitForUsers(name);
    }
  }

  #waitForUsers(name: string): void {
    const { clock, logger } = this.#deps;
    const idle = new AbortController();
    this.#idle.set(name, idle);
    const removed = clock.sleep(IDLE_MS, idle.signal).then(() => this.#removeUnused(name));
    removed.catch((error: unknown) => {
      if (!idle.signal.aborted) logger.warn({ err: error, network: name }, "a network that nobody uses is left");
    });
  }

  /** What was there may not be any more: the engine was away. */
  forget(): void {
    this.#there.clear();
  }

  /** Removes those of this host that nobody uses: also what an agent left that was killed. */
  async sweep(): Promise<void> {
    const unused = (await this.#deps.engine.networks()).filter((name) => this.#usersOf(name).size === 0);
    for (const name of unused) await this.#removeUnused(name);
  }

  /** Removes those that wait for another user. */
  async close(): Promise<void> {
    for (const name of [...this.#idle.keys()]) {
      await this.#removeUnused(name).catch((error: unknown) => {
        this.#deps.logger.warn({ err: error, network: name }, "a network that nobody uses is left");
      });
    }
  }

  async #removeUnused(name: string): Promise<void> {
    this.#endIdleness(name);
    await this.#change(name, true, async (isThere) => {
      if (this.#usersOf(name).size > 0) return isThere;
      await this.#deps.engine.removeNetwork(name);
      if (this.#usersOf(name).size === 0) this.#users.delete(name);
      return false;
    });
  }

  #endIdleness(name: string): void {
    this.#idle.get(name)?.abort();
    this.#idle.delete(name);
  }

  #usersOf(name: string): Set<string> {
    const users = this.#users.get(name) ?? new Set();
    this.#users.set(name, users);
    return users;
  }

  async #change(name: string, unknown: boolean, change: (isThere: boolean) => Promise<boolean>): Promise<void> {
    const changed = (this.#there.get(name) ?? Promise.resolve(unknown)).then(change);
    this.#there.set(name, changed);
    try {
      await changed;
    } catch (error) {
      if (this.#there.get(name) === changed) this.#there.delete(name);
      throw error;
    }
  }

  #nameFor(project: string): string {
    const hash = createHash("sha256").update(`${this.#deps.hostData} ${project}`).digest("hex");
    return `stillpoint-${hash.slice(0, 16)}`;
  }
}
