import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { installVersion, olderCommit } from "../harness/older-version.ts";
import { untilDone } from "../harness/vm-client.ts";
import { seeded } from "./draw.ts";
import { countOf, FaultRun, isLong, runSeed } from "./fault-run.ts";
import { checkInvariants, runningTwice } from "./invariants.ts";
import { MixedLoad } from "./mixed-load.ts";
import { killAll, killOne, pauseOne, starveOfFiles, starveOfMemory } from "./replica-faults.ts";
import { type ReplicaStage, setReplicaStage } from "./replica-stage.ts";
import { replaceAll } from "./rolling-upgrade.ts";

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
  beforeAll(async () => {
    const { path } = closing.use(temporaryFolder());
    const older = join(path, "older");
    await installVersion(commit, older);
    failpoints = await FailpointSwitch.create(join(path, "failpoints"), blocks);
    const own = { STILLPOINT_FAILPOINTS: `${failpoints.specification};${poisons}` };
    stage = closing.use(
      await setReplicaStage({
        rootOf: (name) => (upgraded.has(name) ? undefined : older),
        envOf: (name) => (upgraded.has(name) ? own : {}),
      }),
    );
  }, 240_000);
  afterAll(() => closing.disposeAsync(), 120_000);

  test(`F17: one after the other becomes this version, from ${commit.slice(0, 10)}`, { timeout }, async () => {
    await underLoad(stage, new FaultRun("F17"), {
      count: countOf(1, 10),
      inflict: (run) => replaceAll(stage, run, upgraded),
    });
    expect([...upgraded].toSorted()).toEqual([...stage.processes.keys()].toSorted());
  });

  test("F4: kill -9 of any of our processes, every 1 to 2 s", { timeout }, async () => {
    await underLoad(stage, new FaultRun("F4"), { count: countOf(8, 1_000), inflict: (run) => killOne(stage, run) });
  });

  test("F9: a replica, an agent, Redis and NATS stand still beyond the lease, and go on", { timeout }, async () => {
    await underLoad(stage, new FaultRun("F9"), {
      count: countOf(4, 150),
      inflict: (run, round) => pauseOne(stage, run, round),
    });
  });

  test("F18: no more files, and no more memory", { timeout }, async () => {
    const starve = [starveOfFiles, starveOfMemory];
    await underLoad(stage, new FaultRun("F18"), {
      count: countOf(2, 20),
      inflict: async (run, round) => {
        await starve[round % starve.length]?.(stage, run);
      },
    });
  });

  test("F19: a job that always fails, or kills its worker, ends and keeps nobody else from work", {
    timeout,
  }, async () => {
    await underLoad(stage, new FaultRun("F19"), {
      count: countOf(1, 10),
      inflict: async (run) => {
        const { api, member: name } = stage;
        const poison = async (accepted: { name?: string }) =>
          (await untilDone(api.operations, accepted.name ?? "")).state;
        await api.finish(await api.vms.startVm({ name }));
        run.fault("job that throws", name);
        expect(await poison(await api.vms.rebootVm({ name, force: true }))).toBe("OPERATION_STATE_FAILED");
        if (isLong) {
          await api.finish(await api.vms.pauseVm({ name }));
          run.fault("job that kills", name);
          expect(await poison(await api.vms.resumeVm({ name }))).toBe("OPERATION_STATE_FAILED");
        }
        await api.finish(await api.vms.stopVm({ name, force: true }));
      },
    });
  });

  test("F20: an event loop that is blocked beyond the lease", { timeout }, async () => {
    await underLoad(stage, new FaultRun("F20"), {
      count: countOf(2, 20),
      inflict: async (run) => {
        const name = run.pick(Object.keys(blocks));
        await failpoints.arm(name);
        await failpoints.untilFired(name, 60_000);
        run.fault("block", name);
        await sleep(3_500);
      },
    });
  });

  test("F16: everything is killed at once and started in random order", { timeout }, async () => {
    await underLoad(stage, new FaultRun("F16"), {
      count: countOf(1, 50),
      inflict: (run) => killAll(stage, run),
      mayBeAway: true,
    });
  });
});

interface LoadedRun {
  readonly count: number;
  readonly inflict: (run: FaultRun, round: number) => Promise<void>;
  /** There are times with nobody to ask: clients give up then, and what they were told before holds nevertheless. */
  readonly mayBeAway?: boolean;
}

/** Makes faults under a load, lets things settle, and checks all that must hold. */
async function underLoad(stage: ReplicaStage, run: FaultRun, { count, inflict, mayBeAway = false }: LoadedRun) {
  const { api, history, member, agentFolders } = stage;
  await run.tell(async () => {
    const load = new MixedLoad({ api, random: seeded(runSeed), vmClients: 4, cpus: 4, member });
    const twice = new Set<string>();
    const stop = new AbortController();
    const looking = look(stop.signal, async () => {
      for (const uid of await runningTwice(stage)) twice.add(uid);
    });
    load.start();
    try {
      for (let round = 0; round < count; round++) await inflict(run, round);
      run.note("the last fault is over");
    } finally {
      await load.stop();
      run.note("the load has come to its end");
      stop.abort();
      await looking;
      Object.assign(run.counts, load.counts, history.seen);
    }
    await checkInvariants({ api, agentFolders }, 60_000);
    await history.check();
    run.note("all has settled");
    expect([...twice], "I1: VMs that ran twice").toEqual([]);
    expect(history.unfinished(load.accepted), "I2: accepted and not ended").toEqual([]);
    if (!mayBeAway) expect(load.failures, "failed requests").toEqual([]);
  }, stage);
}

async function look(signal: AbortSignal, once: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await once();
    await sleep(200);
  }
}
