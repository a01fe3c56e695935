import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#libs/testing";
import { LeaseStage } from "../../services/agent/testing/lease-stage.ts";
import { isGone, isStopped } from "../../services/agent/testing/process-state.ts";
import { draw } from "./draw.ts";
import { faultRuns, runSeed } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { countOf } from "./matrix.ts";

/** So long after the owner's own count of the lease the VM may still be seen to run; a host is down half a lease later. */
const MARGIN_MS = 1_500;
const LOOK_MS = 25;

type Fault = (stage: LeaseStage) => Promise<void>;

/** Each lasts for longer than the lease. */
const faults: Readonly<Record<string, Fault>> = {
  "the owner is silent": (stage) => silence(stage, 0),
  "the owner is silent while the agent is stopped": async (stage) => {
    stage.agent.kill("SIGSTOP");
    await silence(stage, 0);
    stage.agent.kill("SIGCONT");
  },
  "the agent is stopped": async (stage) => {
    stage.agent.kill("SIGSTOP");
    await delay(2 * stage.owner.ttlMs);
    stage.agent.kill("SIGCONT");
  },
  "the agent is killed": async (stage) => {
    await stage.agent.end("SIGKILL");
    await delay(1.5 * stage.owner.ttlMs);
    await stage.agent.start();
  },
  "the guard is stopped, and the owner silent": async (stage) => {
    const guard = await stage.guardPid();
    process.kill(guard, "SIGSTOP");
    await silence(stage, 1_000);
    process.kill(guard, "SIGCONT");
  },
  "the guard is killed": async (stage) => {
    const { pid } = await stage.workload();
    process.kill(await stage.guardPid(), "SIGKILL");
    await eventually(() => isGone(pid), { deadlineMs: 5_000 });
    await stage.start();
  },
};

async function silence({ owner }: LeaseStage, beforeMs: number): Promise<void> {
  await delay(beforeMs);
  owner.answers = false;
  await delay(1.5 * owner.ttlMs);
  owner.answers = true;
}

/** Looks at the process until it is disposed of; gives how often it was seen to run without a lease. */
class Watch implements AsyncDisposable {
  readonly #stage: LeaseStage;
  readonly #over = new AbortController();
  readonly #watching: Promise<void>;
  readonly seen: string[] = [];
  looks = 0;

  constructor(stage: LeaseStage, pid: number) {
    this.#stage = stage;
    this.#watching = this.#watch(pid);
  }

  async #watch(pid: number): Promise<void> {
    while (!this.#over.signal.aborted) {
      const { answeredMs, ttlMs } = this.#stage.owner;
      const lateMs = performance.now() - (answeredMs + ttlMs);
      if (lateMs > MARGIN_MS && !(await isStopped(pid)) && !(await isGone(pid))) {
        this.seen.push(`it runs ${Math.round(lateMs)} ms after the lease`);
      }
      this.looks++;
      await delay(LOOK_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#watching;
  }
}

/** Each kind once before any comes again. */
const drawn = Array.from({ length: 10 }, (_, round) => draw(Object.keys(faults), runSeed + round, 6)).flat();
const chosen = drawn.slice(0, countOf("lease"));

describe("F9: the lease of a host", () => {
  let stage: LeaseStage;
  const run = faultRuns();
  beforeAll(async () => {
    stage = await LeaseStage.open();
  }, 120_000);
  afterAll(() => stage[Symbol.asyncDispose]());

  test.each(chosen)("%s: the VM never runs without it, and goes on with it", async (name) => {
    const { pid } = await stage.workload();
    await using watch = new Watch(stage, pid);
    await faults[name]?.(stage);
    run().fault(name);
    await run().recovers("the guest", stage.guestAnswers);
    expectNone("I1: the VM runs without a lease", watch.seen);
    expect(watch.looks).toBeGreaterThan(10);
  });
});
