import { describe, expect, test } from "vitest";
import { gib, host, requirements, reservation } from "../testing/hosts.ts";
import { describeRefusal, explain } from "./explain.ts";

describe("explain", () => {
  test("names the first rule that failed on each host", () => {
    const hosts = [host("a", { availability: "down" }), host("b", { capabilities: [] }), host("c")];
    const { verdicts } = explain(hosts, requirements({ memoryBytes: 20 * gib }));
    expect(verdicts.map(({ host, failure }) => [host, failure?.rule])).toEqual([
      ["hosts/a", "state"],
      ["hosts/b", "capability"],
      ["hosts/c", "memory"],
    ]);
  });

  test("suggests nothing when one host fits", () => {
    expect(explain([host("a", { availability: "down" }), host("b")], requirements()).suggestion).toBe("");
  });

  const suggestions = [
    { name: "no host at all", hosts: [], wants: {}, says: "add a host: none is registered" },
    {
      name: "the host that lacks the smallest share",
      hosts: [
        host("a", { reservations: [reservation("x", { cpuMillis: 6_000 })] }),
        host("b", { reservations: [reservation("y", { cpuMillis: 5_000 })] }),
      ],
      wants: { cpuMillis: 4_000 },
      says: "hosts/b would take it with 3 cpus instead of 4 cpus",
    },
    {
      name: "less of two things rather than another label",
      hosts: [host("a", { labels: {} }), host("b", { labels: { zone: "z" } })],
      wants: { cpuMillis: 10_000, memoryBytes: 20 * gib, hostSelector: { zone: "z" } },
      says: "hosts/b would take it with 8 cpus instead of 10 cpus and with 16 GiB of memory instead of 20 GiB",
    },
    {
      name: "another port",
      hosts: [host("a", { reservations: [reservation("x", { hostPorts: [80] })] })],
      wants: { hostPorts: [80] },
      says: "hosts/a would take it without the host port that is taken",
    },
    {
      name: "an uncordoned host",
      hosts: [host("a", { availability: "cordoned" })],
      wants: {},
      says: "hosts/a would take it if it were uncordoned",
    },
    {
      name: "a full host",
      hosts: [host("a", { reservations: [reservation("x", { cpuMillis: 8_000 })] })],
      wants: {},
      says: "hosts/a would take it if 1 cpu were freed there",
    },
  ];
  for (const { name, hosts, wants, says } of suggestions) {
    test(`suggests ${name}`, () => {
      expect(explain(hosts, requirements(wants)).suggestion).toBe(says);
    });
  }
});

test("a refusal tells of each host, up to a limit", () => {
  const refusal = explain([host("a"), host("b"), host("c")], requirements({ cpuMillis: 9_000 }));
  expect(describeRefusal(refusal, 2)).toBe(
    "hosts/a: cpu: needs 9 cpus, 8 cpus of 8 cpus free; hosts/b: cpu: needs 9 cpus, 8 cpus of 8 cpus free; " +
      "1 more hosts; nearest: hosts/a would take it with 8 cpus instead of 9 cpus",
  );
});
