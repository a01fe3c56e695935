import { expect, test } from "vitest";
import type { Faults } from "../sim-process.ts";
import { simulateCluster } from "./cluster-simulation.ts";
import type { Mutations } from "./mutations.ts";

interface Broken {
  readonly when: string;
  readonly mutations: Mutations;
  readonly violation: RegExp;
  /** Faults that it takes, where the drawn ones are too seldom. */
  readonly more?: Partial<Faults>;
  /** Of so many seeds one at least finds it; 300 if unsaid. More are for the long run only. */
  readonly within?: number;
}

const broken: readonly Broken[] = [
  {
    when: "a heartbeat is answered before its host is written ready",
    mutations: { answersUnwritten: true },
    violation: /lease while it is down|down while it has its lease/,
  },
  {
    when: "a host is down before its lease is over",
    mutations: { downAfterMs: 3_000 },
    violation: /is down while it has its lease/,
  },
  {
    when: "a host is down without a confirmed suspicion",
    mutations: { downUnconfirmed: true },
    violation: /lease while it is down|down while it has its lease/,
    more: { lag: 0.2 },
    within: 3_000,
  },
  {
    when: "a recovery does not look whether its host is down",
    mutations: { unseenHosts: true },
    violation: /runs on .* and on/,
    more: { lag: 0.05 },
    within: 1_000,
  },
  {
    when: "a held workload goes on while it is recovered",
    mutations: { unseenRecoveries: true },
    violation: /runs on .* and on/,
  },
  { when: "a guard pauses too late", mutations: { lateGuardMs: 20_000 }, violation: /runs on .* and on/ },
  {
    when: "a ledger is written over another's",
    mutations: { blindLedgers: true },
    violation: /is not now|is on no ledger/,
  },
  { when: "more is given out than there is", mutations: { overcommit: 2 }, violation: /is over-committed/ },
  {
    when: "nobody says what becomes of workloads that are held",
    mutations: { noWords: true },
    violation: /not settled: .* is held on/,
  },
  {
    when: "an agent forgets the epochs that it has seen",
    mutations: { forgottenEpochs: true },
    violation: /believes an owner of epoch/,
    more: { lag: 0.05, pause: 0.005 },
    within: 3_000,
  },
];

const isLong = Number(process.env.STILLPOINT_SEEDS ?? 0) >= 1_000;

test.each(broken.filter(({ within = 0 }) => isLong || within <= 300))(
  "it is found out when $when",
  async (one) => {
    const { mutations, violation, more, within = 300 } = one;
    let seed = 0;
    let found: readonly string[] = [];
    while (found.length === 0 && seed < within) {
      const { violations } = await simulateCluster(++seed, mutations, more);
      found = violations.filter((what) => violation.test(what));
    }
    expect(found, `in ${within} seeds`).not.toEqual([]);
  },
  600_000,
);
