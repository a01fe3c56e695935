import { setTimeout as delay } from "node:timers/promises";
import type Dockerode from "dockerode";
import { findGroup, freeze, thaw } from "../lease/control-group.ts";
import { askEngine } from "./engine-error.ts";

/** An engine that can let a container go on has done so by then. */
const STUCK_MS = 500;
const TRIES = 3;

/**
 * Lets a container go on. Where a command was just being started in it as it was paused, the runtime waits for that
 * frozen command before it thaws anything, for ever (seen with containerd 1.6 and runc 1.1). Then the kernel is told
 * instead, by the container's control group. If the runtime refuses to resume what is not frozen any more, it is frozen
 * again for it, now that nothing is in its way.
 * @throws StillpointError ENGINE_FAILED, ENGINE_UNAVAILABLE
 */
export async function unpause(docker: Dockerode, uid: string, tries = TRIES): Promise<void> {
  const asked = askEngine(`unpausing ${uid}`, async () => docker.getContainer(uid).unpause());
  if (await isAnswered(asked)) return void (await asked);
  const { Id, group } = await groupOf(docker, uid);
  if (group === undefined) return void (await asked);
  thaw(group);
  try {
    await asked;
  } catch (error) {
    if (tries <= 1 || !(await isPaused(docker, Id))) throw error;
    freeze(group);
    await unpause(docker, uid, tries - 1);
  }
}

function isAnswered(asked: Promise<unknown>): Promise<boolean> {
  const answer = asked.then(
    () => true,
    () => true,
  );
  return Promise.race([answer, delay(STUCK_MS, false)]);
}

/** From the list: to be looked at by itself a container waits for what is being done with it. */
async function groupOf(docker: Dockerode, uid: string) {
  const found = await listed(docker, { name: [`^/${uid}$`] });
  return { Id: found?.Id ?? "", group: found && findGroup(found.Id) };
}

async function isPaused(docker: Dockerode, Id: string): Promise<boolean> {
  return (await listed(docker, { id: [Id] }))?.State === "paused";
}

async function listed(docker: Dockerode, filters: Readonly<Record<string, string[]>>) {
  const found = await askEngine("listing containers", async () => docker.listContainers({ all: true, filters }));
  return found[0];
}
