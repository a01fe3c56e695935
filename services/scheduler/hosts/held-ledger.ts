import { Ledger } from "#contracts/scheduler/v1/scheduler";
import type { BodyCodec } from "#libs/records";
import type { Requirements, Reservation } from "../domain/host.ts";
import { toHeld, toWritten } from "./written.ts";

/** A host's ledger as decisions see it. */
export interface HeldLedger {
  readonly name: string;
  readonly reservations: readonly Reservation[];
  /** The version of the host's record that who reserves here has to know at least; 0 for any. */
  readonly hostVersion?: number;
}

const mostKinds = 4_096;
const kinds = new Map<string, Requirements>();

/** Reads a ledger so that a hundred thousand reservations fit into memory: what many need alike is there once. */
export const ledgerCodec: BodyCodec<HeldLedger> = {
  fromJSON(value) {
    const { name, reservations, hostVersion } = Ledger.fromJSON(value);
    return { name, hostVersion, reservations: reservations.map((written) => shared(toHeld(written))) };
  },
  toJSON: ({ name, reservations, hostVersion = 0 }) =>
    Ledger.toJSON({ name, hostVersion, reservations: reservations.map(toWritten) }),
};

function shared(held: Reservation): Reservation {
  const key = JSON.stringify(held.requirements);
  const known = kinds.get(key);
  if (known !== undefined) return { ...held, requirements: known };
  if (kinds.size >= mostKinds) kinds.clear();
  kinds.set(key, held.requirements);
  return held;
}
