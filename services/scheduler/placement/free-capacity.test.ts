import { expect, test } from "vitest";
import { reservation } from "../testing/hosts.ts";
import { FreeCapacity } from "./free-capacity.ts";

const wanted = reservation("vm-1");

function ledger(host: string, reservations: readonly ReturnType<typeof reservation>[]) {
  const name = `hosts/${host}/ledger`;
  const about = { uid: host, operation: undefined, version: 1, time: new Date(0), raw: {} };
  return { name, ...about, body: { name, reservations } };
}

test("what is known of a reservation that came late goes with it, whoever asks", () => {
  const free = new FreeCapacity();
  free.ledgers.set(ledger("a", [wanted]));
  free.ledgers.set(ledger("b", [wanted]));
  free.ledgers.set(ledger("b", []));
  expect(free.wasLate("hosts/b", wanted)).toBe(false);
  free.ledgers.set(ledger("b", [reservation("vm-2"), wanted]));
  free.ledgers.set(ledger("b", [wanted]));
  expect(free.wasLate("hosts/b", wanted)).toBe(true);
});

test("of which it was not known who had it first when the view began, it is no question any more when one has it", () => {
  const free = new FreeCapacity();
  free.ledgers.clear();
  for (const host of ["a", "b"]) free.ledgers.set(ledger(host, [wanted]));
  free.ledgers.loaded?.();
  expect(free.holderOf(wanted)).toBe("unsure");
  free.ledgers.set(ledger("a", []));
  free.ledgers.set(ledger("a", [wanted]));
  expect(free.holderOf(wanted)).toBe("hosts/b");
});
