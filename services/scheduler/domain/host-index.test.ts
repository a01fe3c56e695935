import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gib, host, requirements, reservation } from "../testing/hosts.ts";
import { fits } from "./feasibility.ts";
import { type Host, type Requirements, usedBy } from "./host.ts";
import { HostIndex } from "./host-index.ts";
import { reserve } from "./ledger.ts";
import { score } from "./score.ts";

const indexOf = (hosts: readonly Host[]): HostIndex => {
  const index = new HostIndex();
  for (const host of hosts) index.set(host);
  return index;
};

/** Best first. */
function order(hosts: readonly Host[], wants: Requirements): string[] {
  const index = indexOf(hosts);
  const names: string[] = [];
  for (let best = index.best(wants, () => true); best !== undefined; best = index.best(wants, () => true)) {
    names.push(best.name);
    index.delete(best.name);
  }
  return names;
}

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

  test("is the first that came among equals, of those that are allowed and have the ports", () => {
    const taken = host("c", { reservations: [reservation("p", { ...nothing, hostPorts: [80] })] });
    const hosts = [taken, host("b"), host("a")];
    expect(order(hosts, requirements())).toEqual(["hosts/c", "hosts/b", "hosts/a"]);
    expect(order(hosts, requirements({ hostPorts: [80] }))).toEqual(["hosts/b", "hosts/a"]);
    expect(order(hosts, requirements({ notHost: "hosts/b" }))).toEqual(["hosts/c", "hosts/a"]);
    expect(indexOf(hosts).best(requirements(), (name) => name === "hosts/a")?.name).toBe("hosts/a");
  });

  test("does not exist when none fits", () => {
    expect(order([host("a")], requirements({ cpuMillis: 9_000 }))).toEqual([]);
    expect(order([], requirements())).toEqual([]);
  });
});

const nothing = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0 };

const anyRequirements = fc
  .record({
    cpuMillis: fc.integer({ min: 10, max: 8_000 }),
    memoryBytes: fc.integer({ min: 1, max: 16 }).map((n) => n * gib),
    diskBytes: fc.integer({ min: 1, max: 100 }).map((n) => n * gib),
    hostPorts: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
  })
  .map(requirements);

const anyHost = fc
  .record({
    cpuMillis: fc.constantFrom(8_000, 16_000),
    zone: fc.constantFrom("z1", "z2"),
    availability: fc.constantFrom("ready", "ready", "cordoned"),
    holds: fc.array(anyRequirements, { maxLength: 3 }),
  })
  .map(({ cpuMillis, zone, availability, holds }) => {
    const capacity = { cpuMillis, memoryBytes: 16 * gib, diskBytes: 100 * gib };
    const reservations = holds.map((held, index) => ({ ...reservation(`held-${index}`), requirements: held }));
    return { availability: availability as Host["availability"], labels: { zone }, capacity, reservations };
  });

test("the index finds what a look at every host finds, also after hosts have changed", () => {
  fc.assert(
    fc.property(
      fc.array(anyHost, { maxLength: 12 }),
      fc.array(fc.tuple(fc.nat(11), anyHost), { maxLength: 8 }),
      anyRequirements,
      (made, changes, wants) => {
        const hosts = new Map(made.map((differs, index) => [index, host(`h-${index}`, differs)]));
        const index = indexOf([...hosts.values()]);
        for (const [which, differs] of changes) {
          if (which % 4 === 0) {
            hosts.delete(which);
            index.delete(`hosts/h-${which}`);
            continue;
          }
          hosts.set(which, host(`h-${which}`, differs));
          index.set(host(`h-${which}`, differs));
        }
        const costs = [...hosts.values()].filter((one) => fits(one, wants)).map((one) => score(one, wants));
        const best = index.best(wants, () => true);
        expect(best === undefined).toBe(costs.length === 0);
        if (best !== undefined) expect(score(best, wants)).toBe(Math.min(...costs));
        expect([...index.values()]).toHaveLength(hosts.size);
      },
    ),
  );
});

test("placing by index and reserve never over-commits a host, nor gives a port away twice", () => {
  fc.assert(
    fc.property(fc.array(anyRequirements, { maxLength: 40 }), (wishes) => {
      const index = indexOf([host("a"), host("b"), host("c")]);
      for (const [i, wish] of wishes.entries()) {
        const best = index.best(wish, () => true);
        if (best === undefined) {
          expect([...index.values()].some((host) => fits(host, wish))).toBe(false);
          continue;
        }
        const answer = reserve(best, { ...reservation(`vm-${i}`), requirements: wish });
        expect(answer.kind).toBe("taken");
        if (answer.kind === "taken") index.set(answer.host);
      }
      for (const { capacity, reservations, used } of index.values()) {
        expect(used).toEqual(usedBy(reservations));
        expect(used.cpuMillis).toBeLessThanOrEqual(capacity.cpuMillis);
        expect(used.memoryBytes).toBeLessThanOrEqual(capacity.memoryBytes);
        expect(used.diskBytes).toBeLessThanOrEqual(capacity.diskBytes);
        const ports = reservations.flatMap(({ requirements }) => requirements.hostPorts);
        expect(new Set(ports).size).toBe(ports.length);
      }
    }),
  );
});
