import { expect, test } from "vitest";
import { simulateCluster } from "./cluster-simulation.ts";
import type { Mutations } from "./mutations.ts";

/** Of so many seeds one at least finds each broken promise. */
const within = 100;

const broken: readonly (readonly [string, Mutations, RegExp])[] = [
  ["a heartbeat is answered before its host is written ready", { answersUnwritten: true }, /lease while it is down/],
  ["a host is down before its lease is over", { downAfterMs: 3_000 }, /is down while it has its lease/],
  ["a ledger is written over another's", { blindLedgers: true }, /is not now|over-committed|not settled/],
  ["more is given out than there is", { overcommit: 2 }, /is over-committed/],
  ["nobody says what becomes of workloads that are held", { noWords: true }, /not settled: .* is held on/],
];

test.each(broken)("it is found out when %s", { timeout: 120_000 }, async (_what, mutations, violation) => {
  let seed = 0;
  let violations: readonly string[] = [];
  while (violations.length === 0 && seed < within) ({ violations } = await simulateCluster(++seed, mutations));
  expect(violations.join("\n")).toMatch(violation);
});
