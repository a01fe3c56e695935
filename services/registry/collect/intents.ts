import type { Clock, Random } from "#libs/clock";
import { OciError } from "../domain/oci-error.ts";
import { keys } from "../store/keys.ts";
import type { ObjectStore } from "../store/object-store.ts";

/** `pushing`: these are about to be referred to. `deleting`: these are about to be deleted, if nothing refers to them. */
export type IntentKind = "pushing" | "deleting";

/** What an intent is about. */
export interface Claim {
  /** Empty for content itself, of all repositories. */
  readonly repository: string;
  readonly digests: readonly string[];
}

/** Says which intents nobody acts upon any more, whose owner has died. */
export interface Obituary {
  /** @param keys all intents of that kind that there are now */
  dead(kind: IntentKind, keys: readonly string[]): readonly string[];
}

/** How long the owner of an intent may act upon it. */
const ACT_WITHIN_MS = { pushing: 300_000, deleting: 20_000 } as const;
/** Long enough for whatever was asked of the store in the last moment to have happened, or never to happen. */
const DEAD_AFTER_MS = { pushing: 600_000, deleting: 60_000 } as const;

/** Counts an intent as dead that this process has seen for three times as long as its owner may act upon it. */
export class SilenceObituary implements Obituary {
  readonly #clock: Clock;
  readonly #firstSeen = { pushing: new Map<string, number>(), deleting: new Map<string, number>() };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  dead(kind: IntentKind, keys: readonly string[]): readonly string[] {
    const now = this.#clock.monotonicMs();
    const seen = new Map(keys.map((key) => [key, this.#firstSeen[kind].get(key) ?? now]));
    this.#firstSeen[kind] = seen;
    return keys.filter((key) => now - (seen.get(key) ?? now) > DEAD_AFTER_MS[kind]);
  }
}

export interface IntentsDeps {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly obituary: Obituary;
}

/**
 * What somebody is about to do, one object each. A push writes what it will refer to and then reads what is being
 * deleted; a collector writes what it will delete and then reads what is referred to: one of them always sees the
 * other, on whatever replica, and no clock, lease or lock decides. Time counts only where an owner has died.
 */
export class Intents {
  readonly #deps: IntentsDeps;

  constructor(deps: IntentsDeps) {
    this.#deps = deps;
  }

  async declare(kind: IntentKind, claim: Claim): Promise<Intent> {
    const { objects, clock, random } = this.#deps;
    const key = keys.intent(kind, random.id(kind));
    const untilMs = clock.monotonicMs() + ACT_WITHIN_MS[kind];
    await objects.put(key, JSON.stringify(claim));
    const assertInTime = () => {
      if (clock.monotonicMs() < untilMs) return;
      throw new OciError("UNKNOWN", "the store was too slow for this: try again", { status: 503 });
    };
    return { assertInTime, [Symbol.asyncDispose]: () => objects.delete([key]) };
  }

  /** All that somebody may still act upon. */
  async live(kind: IntentKind): Promise<Claim[]> {
    const { objects, obituary } = this.#deps;
    const listed = await objects.list(keys.intents(kind));
    const dead = new Set(obituary.dead(kind, listed));
    const alive = listed.filter((key) => !dead.has(key));
    const found = await Promise.all(alive.map((key) => objects.read(key)));
    return found.flatMap((object) => (object === undefined ? [] : [JSON.parse(object.bytes.toString()) as Claim]));
  }

  /** The digests that somebody may be about to delete, from the repository or altogether. */
  async deleting(repository: string): Promise<Set<string>> {
    const claims = await this.live("deleting");
    const concerned = claims.filter((claim) => claim.repository === repository || claim.repository === "");
    return new Set(concerned.flatMap(({ digests }) => digests));
  }

  /** Removes what dead owners left. */
  async bury(): Promise<void> {
    const { objects, obituary } = this.#deps;
    for (const kind of ["pushing", "deleting"] as const) {
      await objects.delete(obituary.dead(kind, await objects.list(keys.intents(kind))));
    }
  }
}

/** Disposing withdraws it. */
export interface Intent extends AsyncDisposable {
  /** @throws OciError UNKNOWN (503) when others may soon take its owner for dead */
  assertInTime(): void;
}
