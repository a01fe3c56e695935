import { describe, expect, test } from "vitest";
import { host, reservation } from "../testing/hosts.ts";
import { reclaim, release, reserve } from "./ledger.ts";

const held = reservation("vm-1", { cpuMillis: 8_000 });

describe("reserve", () => {
  test("takes what fits", () => {
    expect(reserve(host("a"), held)).toEqual({ kind: "taken", host: host("a", { reservations: [held] }) });
  });

  test("knows its own reservation again, also when the host would no longer take it", () => {
    const full = host("a", { reservations: [held], availability: "down" });
    expect(reserve(full, held)).toEqual({ kind: "held" });
  });

  test("refuses what no longer fits", () => {
    expect(reserve(host("a", { reservations: [held] }), reservation("vm-2"))).toEqual({ kind: "refused" });
  });
});

describe("giving back", () => {
  const again = { ...held, operation: "operations/other" };
  const other = reservation("vm-2");

  test("release takes every reservation of the workload out, and only those", () => {
    expect(release([held, again, other], { uid: "vm-1", epoch: 7 })).toEqual([other]);
  });

  test("release leaves what an operation has taken that came after who releases", () => {
    const later = { ...again, epoch: 8 };
    expect(release([{ ...held, epoch: 7 }, later], { uid: "vm-1", epoch: 7 })).toEqual([later]);
    expect(release([later], { uid: "vm-1", epoch: 7 })).toBeUndefined();
    expect(release([later], { uid: "vm-1", epoch: 0 })).toEqual([]);
  });

  test("reclaim takes out one reservation alone", () => {
    expect(reclaim([held, again, other], held)).toEqual([again, other]);
  });

  test("there is nothing to write when nothing is held", () => {
    expect(release([other], { uid: "vm-1", epoch: 7 })).toBeUndefined();
    expect(reclaim([other], held)).toBeUndefined();
  });
});
