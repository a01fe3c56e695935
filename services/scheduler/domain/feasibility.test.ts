import { describe, expect, test } from "vitest";
import { gib, host, requirements, reservation } from "../testing/hosts.ts";
import { amount, failures } from "./feasibility.ts";

const cases = [
  {
    name: "to be another host",
    wants: { host: "hosts/b" },
    rule: "host",
    detail: "is not hosts/b, where it has to be",
  },
  { name: "a cordoned host", host: host("a", { availability: "cordoned" }), rule: "state", detail: "is cordoned" },
  { name: "a host that is down", host: host("a", { availability: "down" }), rule: "state", detail: "is down" },
  {
    name: "a capability it lacks",
    wants: { capabilities: ["docker"] },
    rule: "capability",
    detail: "cannot do docker",
  },
  {
    name: "a label with another value",
    host: host("a", { labels: { zone: "b" } }),
    wants: { hostSelector: { zone: "a" } },
    rule: "label",
    detail: "does not carry zone=a",
  },
  {
    name: "too many cpus",
    host: host("a", { reservations: [reservation("x", { cpuMillis: 6_000 })] }),
    wants: { cpuMillis: 3_000 },
    rule: "cpu",
    detail: "needs 3 cpus, 2 cpus of 8 cpus free",
  },
  {
    name: "too much memory",
    wants: { memoryBytes: 17 * gib },
    rule: "memory",
    detail: "needs 17 GiB, 16 GiB of 16 GiB free",
  },
  {
    name: "too much disk",
    host: host("a", { reservations: [reservation("x", { diskBytes: 99.5 * gib })] }),
    wants: { diskBytes: gib },
    rule: "disk",
    detail: "needs 1 GiB, 512 MiB of 100 GiB free",
  },
  {
    name: "a port that is taken",
    host: host("a", { reservations: [reservation("x", { hostPorts: [8080] })] }),
    wants: { hostPorts: [8081, 8080] },
    rule: "port",
    detail: "port 8080 is taken by projects/default/vms/x",
  },
];

describe("a host refuses", () => {
  for (const { name, host: asked = host("a"), wants, rule, detail } of cases) {
    test(name, () => {
      expect(failures(asked, requirements(wants))).toMatchObject([{ rule, detail }]);
    });
  }
});

test("a workload that takes exactly what is left fits", () => {
  const nearlyFull = host("a", { reservations: [reservation("x", { cpuMillis: 7_000, memoryBytes: 15 * gib })] });
  expect(failures(nearlyFull, requirements())).toEqual([]);
});

test("every broken rule is told, in the order of the rules", () => {
  const broken = failures(host("a", { availability: "down", capabilities: [] }), requirements({ cpuMillis: 9_000 }));
  expect(broken.map(({ rule }) => rule)).toEqual(["state", "capability", "cpu"]);
});

test("amounts are rounded down", () => {
  expect(amount("memoryBytes", gib - 1)).toBe("1023.9 MiB");
});
