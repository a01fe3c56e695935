import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { isLong, temporaryFolder } from "#libs/testing";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { installVersion, olderCommit } from "../harness/older-version.ts";
import { untilDone } from "../harness/vm-client.ts";
import { WallClocks } from "../harness/wall-clocks.ts";
import { jumpOne, LeasedVm } from "./clock-faults.ts";
import { seeded } from "./draw.ts";
import { type FaultRun, faultRuns, natsBoundMs, runSeed } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { checkInvariants, runningTwice } from "./invariants.ts";
import { countOf } from "./matrix.ts";
import { MixedLoad } from "./mixed-load.ts";
import { killAll, killOne, pauseOne, starveOfFiles, starveOfMemory } from "./replica-faults.ts";
import { type ReplicaStage, setReplicaStage } from "./replica-stage.ts";
import { replaceAll, replaceRest } from "./rolling-upgrade.ts";

/** In the middle of a job, in the service and in the agent: longer than the lease, so that another takes over. */
const blocks = {
  "vm.stop.stop.before": "block:3000",
  "vm.create.make.after": "block:3000",
  "checkpoint.create.publish.before": "block:3000",
  "agent.start-vm.before": "block:3000",
} as const;
/** The load asks for none of these. */
const poisons = "vm.reboot.reboot.before=throw;vm.resume.resume.before=kill";
const timeout = 7_200_000;

const { commit } = await olderCommit();

/** Two replicas of every service and two agents, under a load of all kinds of operations. */
describe("replicas under load", () => {
  const closing = new AsyncDisposableStack();
  /** Names of the processes that are of this version. */
  const upgraded = new Set<string>();
  let stage: ReplicaStage;
  let failpoints: FailpointSwitch;
  let clocks: WallClocks;
  const run = faultRuns(() => ({ ...stage.cluster, lines: stage.history.lines }));
  beforeAll(async () => {
    const { path } = closing.use(temporaryFolder());
    const older = join(path, "older");
    await installVersion(commit, older);
    failpoints = await FailpointSwitch.create(join(path, "failpoints"), blocks);
    clocks = await WallClocks.create(join(path, "clocks"));
    const own = { STILLPOINT_FAILPOINTS: `${failpoints.specification};${poisons}` };
    stage = closing.use(
      await setReplicaStage({
        rootOf: (name) => (upgraded.has(name) ? undefined : older),
        envOf: (name) => ({ ...clocks.envOf(name), ...(upgraded.has(name) && own) }),
      }),
    );
  }, 240_000);
  afterAll(() => closing.disposeAsync(), 120_000);
  // Also when it runs alone.
  beforeEach(async ({ task }) => {
    if (!task.name.startsWith("F17")) await replaceRest(stage, upgraded);
  });

  test(`F17: one after the other becomes this version, from ${commit.slice(0, 10)}`, { timeout }, async () => {
    await underLoad(stage, run(), {
      count: countOf("upgrade"),
      inflict: (faults) => replaceAll(stage, faults, upgraded),
      // What a start takes is most of it.
      vmClients: isLong ? 4 : 2,
    });
    expect([...upgraded].toSorted()).toEqual([...stage.processes.keys()].toSorted());
  });

  test("F4: kill -9 of any of our processes, every 1 to 2 s", { timeout }, async () => {
    await underLoad(stage, run(), { count: countOf("kill"), inflict: (faults) => killOne(stage, faults) });
  });

  test("F6: kill -9 of the one NATS that there is", { timeout }, async () => {
    const { nats } = stage.cluster;
    await underLoad(stage, run(), {
      count: countOf("nats"),
      inflict: async (faults, _, load) => {
        await sleep(faults.between(500, 1_500));
        faults.fault("kill", "nats");
        await nats.stop("SIGKILL");
        await sleep(faults.between(0, 500));
        await nats.start();
        await goesOn(faults, load);
      },
    });
  });

  test("F9: a replica, an agent, Redis and NATS stand still beyond the lease, and go on", { timeout }, async () => {
    await underLoad(stage, run(), {
      count: countOf("pause"),
      inflict: (faults, round) => pauseOne(stage, faults, round),
    });
  });

  test("F18: no more files, and no more memory", { timeout }, async () => {
    const starve = [starveOfFiles, starveOfMemory];
    await underLoad(stage, run(), {
      count: countOf("starve"),
      inflict: async (faults, round) => {
        await starve[round % starve.length]?.(stage, faults);
      },
    });
  });

  test("F19: a job that always fails, or kills its worker, ends and keeps nobody else from work", {
    timeout,
  }, async () => {
    await underLoad(stage, run(), {
      count: countOf("poison"),
      inflict: async (faults) => {
        const { api, member: name } = stage;
        const poison = async (accepted: { name?: string }) =>
          (await untilDone(api.operations, accepted.name ?? "")).state;
        await api.finish(await api.vms.startVm({ name }));
        faults.fault("job that throws", name);
        expect(await poison(await api.vms.rebootVm({ name, force: true }))).toBe("OPERATION_STATE_FAILED");
        if (isLong) {
          await api.finish(await api.vms.pauseVm({ name }));
          faults.fault("job that kills", name);
          expect(await poison(await api.vms.resumeVm({ name }))).toBe("OPERATION_STATE_FAILED");
        }
        await api.finish(await api.vms.stopVm({ name, force: true }));
      },
    });
  });

  test("F20: an event loop that is blocked beyond the lease", { timeout }, async () => {
    await underLoad(stage, run(), {
      count: countOf("block"),
      inflict: async (faults) => {
        const name = faults.pick(Object.keys(blocks));
        await failpoints.arm(name);
        await failpoints.untilFired(name, 60_000);
        faults.fault("block", name);
        await sleep(3_500);
      },
    });
  });

  test("F14: wall clocks jump by an hour, run twice as fast, or backwards", { timeout }, async () => {
    const leased = new LeasedVm(stage);
    await leased.make();
    const pid = await leased.process();
    await underLoad(stage, run(), {
      count: countOf("clocks"),
      inflict: async (faults, round) => {
        if (round === 0) await leased.hasPointsTaken(clocks, faults);
        await jumpOne(stage, clocks, faults);
      },
    });
    await leased.goesOn(pid);
    await leased.remove();
  });

  test("F16: everything is killed at once and started in random order", { timeout }, async () => {
    await underLoad(stage, run(), {
      count: countOf("killAll"),
      inflict: async (faults, _, load) => {
        await killAll(stage, faults);
        await goesOn(faults, load);
      },
      mayBeAway: true,
    });
  });
});

interface LoadedRun {
  readonly count: number;
  readonly inflict: (run: FaultRun, round: number, load: MixedLoad) => Promise<void>;
  /** There are times with nobody to ask: clients give up then, and what they were told before holds nevertheless. */
  readonly mayBeAway?: boolean;
  /** 4 if unsaid. */
  readonly vmClients?: number;
}

/** Operations come to their ends again. */
async function goesOn(run: FaultRun, { counts }: MixedLoad): Promise<void> {
  const before = counts.ended;
  await run.recovers("operations go on", () => counts.ended > before + 2, natsBoundMs);
}

/** Makes faults under a load, lets things settle, and checks all that must hold. */
async function underLoad(stage: ReplicaStage, run: FaultRun, loaded: LoadedRun) {
  const { count, inflict, mayBeAway = false, vmClients = 4 } = loaded;
  const { api, history, member, agentFolders } = stage;
  const load = new MixedLoad({ api, random: seeded(runSeed), vmClients, cpus: 4, member });
  const twice = new Set<string>();
  const stop = new AbortController();
  const looking = look(stop.signal, async () => {
    for (const uid of await runningTwice(stage)) twice.add(uid);
  });
  load.start();
  try {
    for (let round = 0; round < count; round++) await inflict(run, round, load);
    run.note("the last fault is over");
  } finally {
    await load.stop();
    run.note(`the load has come to its end: ${JSON.stringify({ ...load.counts, ...history.seen })}`);
    stop.abort();
    await looking;
    run.accepted = load.counts.accepted;
  }
  await run.allRecovered();
  await checkInvariants({ api, agentFolders }, 60_000);
  await history.check();
  run.note("all has settled");
  expectNone("I1: VMs that ran twice", [...twice]);
  expectNone("I2: accepted and not ended", history.unfinished(load.accepted));
  if (!mayBeAway) expectNone("failed requests", load.failures);
}

async function look(signal: AbortSignal, once: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await once();
    await sleep(200);
  }
}
