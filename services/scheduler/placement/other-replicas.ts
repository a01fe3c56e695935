import type { PlaceResult, SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import type { Clock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Reservation } from "../domain/host.ts";
import type { Ownership } from "../owners/ownership.ts";
import type { FreeCapacity } from "./free-capacity.ts";
import type { Open, Try } from "./wish.ts";

export interface OtherReplicasDeps {
  readonly free: FreeCapacity;
  readonly ownership: Pick<Ownership, "ownerOf"> & {
    /** This replica; undefined while it owns nothing. */
    readonly name: string | undefined;
  };
  /** Asks another replica to place on its own hosts; it does not ask on. */
  readonly ask: (replica: SchedulerReplica, wishes: readonly Reservation[]) => Promise<PlaceResult[]>;
  readonly clock: Clock;
}

/** One that did not answer is not asked again for so long: what is on its hosts is decided without it. */
const awayMs = 2_000;

/** Placements on hosts that are others' to decide about. */
export class OtherReplicas {
  readonly #deps: OtherReplicasDeps;
  readonly #away = new Map<string, number>();

  constructor(deps: OtherReplicasDeps) {
    this.#deps = deps;
  }

  isMember(): boolean {
    return this.#deps.ownership.name !== undefined;
  }

  isOwn(host: string): boolean {
    const { name, ownerOf } = this.#own();
    return name !== undefined && ownerOf(host)?.name === name;
  }

  /** Asks, for each wish, the owner of the host that it goes best with; those that fit no host have no answer. */
  async place(
    open: readonly Open[],
    decideHere: (wanted: Reservation) => Promise<Try> | undefined,
  ): Promise<Map<Open, Try>> {
    const answers = new Map<Open, Try>();
    const owners = open.flatMap((one) => {
      const owner = this.#ownerFor(one);
      return owner === undefined ? [] : [{ one, owner }];
    });
    const here = owners.map(async ({ one, owner }) => {
      const answer = owner === "nobody" ? await decideHere(one.wanted) : undefined;
      if (answer !== undefined) answers.set(one, answer);
    });
    const asked = Map.groupBy(owners, ({ owner }) => owner);
    asked.delete("nobody");
    const there = [...asked].map(async ([owner, all]) => {
      const wishes = all.map(({ one }) => one);
      if (owner !== "nobody") await this.#ask(owner, wishes, answers);
    });
    await Promise.all([...here, ...there]);
    return answers;
  }

  #own() {
    const { ownership } = this.#deps;
    return { name: ownership.name, ownerOf: (host: string) => ownership.ownerOf(host) };
  }

  /** "nobody": whoever owns it cannot be asked. Undefined: it fits no host of others that have not refused it. */
  #ownerFor({ wanted, refusedBy }: Open): SchedulerReplica | "nobody" | undefined {
    const { free, clock } = this.#deps;
    const { name, ownerOf } = this.#own();
    const isAsked = (host: string) => {
      const owner = ownerOf(host)?.name ?? "";
      return owner !== name && !refusedBy.has(owner);
    };
    const best = free.best(wanted.requirements, isAsked);
    if (best === undefined) return undefined;
    const owner = ownerOf(best.name);
    const untilMs = this.#away.get(owner?.name ?? "") ?? 0;
    return owner === undefined || clock.monotonicMs() < untilMs ? "nobody" : owner;
  }

  async #ask(owner: SchedulerReplica, open: readonly Open[], answers: Map<Open, Try>): Promise<void> {
    const { ask, clock } = this.#deps;
    const wishes = open.map(({ wanted }) => wanted);
    const results = await ask(owner, wishes).catch((error: unknown) => {
      if (!isStillpointError(error)) throw error;
      const nowMs = clock.monotonicMs();
      for (const [name, untilMs] of this.#away) if (untilMs <= nowMs) this.#away.delete(name);
      this.#away.set(owner.name, nowMs + awayMs);
      return [];
    });
    for (const [index, one] of open.entries()) {
      const result = results[index]?.result;
      if (result?.$case === "refused") one.refusedBy.add(owner.name);
      answers.set(one, result?.$case === "placed" ? result.value : "again");
    }
  }
}

/** A replica's answer in the words of the API. */
export function toResult(answer: Exclude<Try, "again">): PlaceResult {
  if (!(answer instanceof StillpointError)) return { result: { $case: "placed", value: answer } };
  const { reason, message } = answer;
  return { result: { $case: "refused", value: { reason, message } } };
}
