import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gib, host, requirements, reservation } from "../testing/hosts.ts";
import { fits } from "./feasibility.ts";
import { usedBy } from "./host.ts";
import { reserve } from "./ledger.ts";
import { rank } from "./score.ts";

const order = (...args: Parameters<typeof rank>) => rank(...args).map(({ name }) => name);

describe("the best host", () => {
  test("is the fullest that still fits", () => {
    const half = { cpuMillis: 4_000, memoryBytes: 8 * gib, diskBytes: 50 * gib };
    const most = { cpuMillis: 7_000, memoryBytes: 14 * gib, diskBytes: 87.5 * gib };
    const hosts = [
      host("empty"),
      host("half", { reservations: [reservation("h", half)] }),
      host("nearly-full", { reservations: [reservation("m", most)] }),
      host("full", { reservations: [reservation("f", { cpuMillis: 8_000 })] }),
    ];
    expect(order(hosts, requirements())).toEqual(["hosts/nearly-full", "hosts/half", "hosts/empty"]);
  });

  test("is the one whose resources run out together", () => {
    const manyCpus = host("many-cpus", { capacity: { cpuMillis: 16_000, memoryBytes: 8 * gib, diskBytes: 100 * gib } });
    const muchMemory = host("much-memory", {
      capacity: { cpuMillis: 8_000, memoryBytes: 16 * gib, diskBytes: 100 * gib },
    });
    const wantsCpus = requirements({ cpuMillis: 8_000, memoryBytes: 4 * gib, diskBytes: 50 * gib });
    const wantsMemory = requirements({ cpuMillis: 4_000, memoryBytes: 8 * gib, diskBytes: 50 * gib });
    expect(order([muchMemory, manyCpus], wantsCpus)[0]).toBe("hosts/many-cpus");
    expect(order([muchMemory, manyCpus], wantsMemory)[0]).toBe("hosts/much-memory");
  });

  test("is the first by name among equals", () => {
    expect(order([host("b"), host("a")], requirements())).toEqual(["hosts/a", "hosts/b"]);
  });

  test("does not exist when none fits", () => {
    expect(rank([host("a")], requirements({ cpuMillis: 9_000 }))).toEqual([]);
  });
});

const anyRequirements = fc
  .record({
    cpuMillis: fc.integer({ min: 10, max: 8_000 }),
    memoryBytes: fc.integer({ min: 1, max: 16 }).map((n) => n * gib),
    diskBytes: fc.integer({ min: 1, max: 100 }).map((n) => n * gib),
    hostPorts: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
  })
  .map(requirements);

test("placing by rank and reserve never over-commits a host, nor gives a port away twice", () => {
  fc.assert(
    fc.property(fc.array(anyRequirements, { maxLength: 40 }), (wishes) => {
      let hosts = [host("a"), host("b"), host("c")];
      for (const [i, wish] of wishes.entries()) {
        const [best] = rank(hosts, wish);
        if (best === undefined) {
          expect(hosts.some((host) => fits(host, wish))).toBe(false);
          continue;
        }
        const answer = reserve(best, { ...reservation(`vm-${i}`), requirements: wish });
        expect(answer.kind).toBe("taken");
        if (answer.kind !== "taken") continue;
        hosts = hosts.map((host) => (host === best ? { ...host, reservations: answer.reservations } : host));
      }
      for (const { capacity, reservations } of hosts) {
        const used = usedBy(reservations);
        expect(used.cpuMillis).toBeLessThanOrEqual(capacity.cpuMillis);
        expect(used.memoryBytes).toBeLessThanOrEqual(capacity.memoryBytes);
        expect(used.diskBytes).toBeLessThanOrEqual(capacity.diskBytes);
        const ports = reservations.flatMap(({ requirements }) => requirements.hostPorts);
        expect(new Set(ports).size).toBe(ports.length);
      }
    }),
  );
});
