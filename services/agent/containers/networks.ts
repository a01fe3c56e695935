import { createHash } from "node:crypto";
import type { ContainerEngine } from "../container-engine.ts";

/**
 * One network for each project: its containers reach each other by name, and nobody else's. A network is there as long
 * as a container uses it.
 */
export class ProjectNetworks {
  readonly #engine: Pick<ContainerEngine, "createNetwork" | "removeNetwork">;
  readonly #hostData: string;
  readonly #users = new Map<string, Set<string>>();
  /** Whether each network is there, after what is being done to it. */
  readonly #there = new Map<string, Promise<boolean>>();

  /** @param hostData the data folder's host-uid: agents that share an engine have networks of their own */
  constructor(engine: Pick<ContainerEngine, "createNetwork" | "removeNetwork">, hostData: string) {
    this.#engine = engine;
    this.#hostData = hostData;
  }

  /** Makes the network of a project unless it is there, for a container; gives its name. */
  async ensure(project: string, uid: string): Promise<string> {
    const name = this.#nameFor(project);
    this.#usersOf(name).add(uid);
    await this.#change(name, false, async (isThere) => {
      if (!isThere) await this.#engine.createNetwork(name);
      return true;
    });
    return name;
  }

  /** A container does not use its network any more. The last one's goes with it. */
  async release(project: string, uid: string): Promise<void> {
    const name = this.#nameFor(project);
    const users = this.#usersOf(name);
    users.delete(uid);
    await this.#change(name, true, async (isThere) => {
      if (users.size > 0) return isThere;
      await this.#engine.removeNetwork(name);
      return false;
    });
  }

  /** What was there may not be any more: the engine was away. */
  forget(): void {
    this.#there.clear();
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
    const hash = createHash("sha256").update(`${this.#hostData} ${project}`).digest("hex");
    return `stillpoint-${hash.slice(0, 16)}`;
  }
}
