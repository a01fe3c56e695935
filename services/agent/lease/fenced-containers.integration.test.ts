import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLogger } from "#libs/logger";
import { eventually, temporaryFolder } from "#libs/testing";
import { type CountingGroup, groupsOf, startCounting } from "../testing/control-group.ts";
import { isGone } from "../testing/process-state.ts";
import { bootClock } from "./boot-clock.ts";
import { endGroup, findGroup, freeze, hasProcesses, isFrozen, thaw } from "./control-group.ts";
import { Fence } from "./fence.ts";
import type { FenceChange } from "./fence-protocol.ts";

const logger = createLogger({ name: "test", level: "silent" });
const uid = "ctr-1";
const isPaused = () => false;

const goesOn = async (counting: CountingGroup) => {
  const before = await counting.count();
  await eventually(async () => (await counting.count()) > before, { deadlineMs: 5_000 });
};
/** For long enough to have counted often. */
const standsStill = async (counting: CountingGroup) => {
  const before = await counting.count();
  await delay(100);
  expect(await counting.count()).toBe(before);
};

test.for([1, 2] as const)(
  "processes of a control group of version %d are held, and end also while held",
  async (version, { skip }) => {
    const root = groupsOf(version);
    if (root === undefined) return skip("this machine has none");
    await using folder = temporaryFolder();
    await using counting = await startCounting(root, version, folder.path);
    const { id, group } = counting;
    expect(findGroup(id)).toEqual(group);
    await goesOn(counting);
    freeze(group);
    expect(isFrozen(group)).toBe(true);
    await standsStill(counting);
    thaw(group);
    expect(isFrozen(group)).toBe(false);
    await goesOn(counting);
    freeze(group);
    await endGroup(group);
    expect(hasProcesses(group)).toBe(false);
  },
);

/** The agent's side of a guard, as an agent starts and ends. A guard that still holds something ends with the test. */
async function attach(data: string) {
  const fence = await Fence.attach({ data, clock: bootClock, logger, mayStart: () => true });
  const changes: FenceChange[] = [];
  fence.listen((change) => changes.push(change));
  return {
    fence,
    changes,
    async [Symbol.asyncDispose]() {
      const { guardPid } = fence;
      fence.close();
      if (guardPid !== undefined && !(await isGone(guardPid))) process.kill(guardPid, "SIGKILL");
    },
  };
}

test("a container is held without a lease, by one guard after the other, until an agent with a lease lets it go on", async ({
  skip,
}) => {
  const root = groupsOf(1) ?? groupsOf(2);
  if (root === undefined) return skip("this machine has no control groups");
  await using folder = temporaryFolder();
  await using counting = await startCounting(root, groupsOf(1) === undefined ? 2 : 1, folder.path);
  const { id, group } = counting;
  await using first = await attach(folder.path);
  /** As the agent knows, too. */
  const resumes = async ({ fence, changes }: Pick<typeof first, "fence" | "changes">) => {
    fence.resume(uid);
    await goesOn(counting);
    await expect.poll(() => changes.at(-1)).toEqual({ resumed: uid });
  };
  const isHeld = (fence: Fence) => eventually(() => fence.find(uid)?.heldAtMs !== undefined, { deadlineMs: 5_000 });

  // There was no lease yet: an agent that finds it running has it held first of all.
  expect(await first.fence.containers.guard({ uid, id, isPaused })).toBe(true);
  expect(first.fence.find(uid)?.heldAtMs).toBeGreaterThan(0);
  await standsStill(counting);
  first.fence.resume(uid);
  await standsStill(counting);

  // With a lease it goes on, until that ends.
  first.fence.renew(bootClock() + 1_000);
  await resumes(first);
  await isHeld(first.fence);
  await standsStill(counting);

  // Whoever thaws it, it stands still again at once.
  thaw(group);
  await eventually(() => isFrozen(group), { deadlineMs: 2_000 });

  // No agent, and no guard, but a lease: it stands still all the same. The next agent has another guard hold it on, also with a lease.
  const pid = first.fence.guardPid ?? Number.NaN;
  first.fence.renew(bootClock() + 60_000);
  await resumes(first);
  first.fence.close();
  process.kill(pid, "SIGKILL");
  await eventually(() => isFrozen(group));
  await standsStill(counting);
  await using second = await attach(folder.path);
  second.fence.renew(bootClock() + 60_000);
  await second.fence.containers.guard({ uid, id, isPaused });
  expect(second.fence.find(uid)?.heldAtMs).toBeGreaterThan(0);
  await standsStill(counting);
  second.fence.renew(bootClock() + 60_000);
  await resumes(second);

  // The guard dies beside a living agent: its second freezes it, and the agent has another one hold it.
  const former = second.fence.guardPid ?? Number.NaN;
  process.kill(former, "SIGKILL");
  await eventually(() => second.fence.guardPid !== undefined && second.fence.guardPid !== former, {
    deadlineMs: 10_000,
  });
  await isHeld(second.fence);
  await standsStill(counting);
  await resumes(second);

  // A pause of the engine is apart from the hold, and outlives it.
  freeze(group);
  const third = second.fence.guardPid ?? 0;
  expect(await second.fence.containers.guard({ uid, id, isPaused: () => true })).toBe(true);
  expect(second.fence.find(uid)?.heldAtMs).toBeUndefined();

  await second.fence.kill(uid);
  expect(hasProcesses(group)).toBe(false);
  second.fence.containers.release(uid);
  second.fence.close();
  await eventually(() => isGone(third), { deadlineMs: 5_000 });
}, 60_000);
