import { fits } from "./feasibility.ts";
import { type Host, plus, type Reservation } from "./host.ts";

/** What became of the wish to reserve: held already, taken now, or refused because it no longer fits. */
export type Reserved =
  | { readonly kind: "held" }
  | { readonly kind: "taken"; readonly host: Host }
  | { readonly kind: "refused" };

/** Reserves on a host as it stands. A reservation is known by (uid, operation): the same one is never taken twice. */
export function reserve(host: Host, wanted: Reservation): Reserved {
  if (host.reservations.some((held) => isSame(held, wanted))) return { kind: "held" };
  if (!fits(host, wanted.requirements)) return { kind: "refused" };
  return { kind: "taken", host: plus(host, wanted) };
}

/** Who gives back what a workload holds. */
export interface Release {
  readonly uid: string;
  /** What was taken with a higher one stays: who gives it back stood still, and others have gone on. 0: all of it. */
  readonly epoch: number;
}

/** The reservations without those of a workload; undefined when it has none there to be given back. */
export function release(reservations: readonly Reservation[], { uid, epoch }: Release): Reservation[] | undefined {
  const kept = reservations.filter((held) => held.uid !== uid || (epoch > 0 && held.epoch > epoch));
  return kept.length === reservations.length ? undefined : kept;
}

/** The reservations without one of them; undefined when it is not there. */
export function reclaim(reservations: readonly Reservation[], lost: Reservation): Reservation[] | undefined {
  const kept = reservations.filter((held) => !isSame(held, lost));
  return kept.length === reservations.length ? undefined : kept;
}

export function isSame(a: Pick<Reservation, "uid" | "operation">, b: Pick<Reservation, "uid" | "operation">): boolean {
  return a.uid === b.uid && a.operation === b.operation;
}
