import { isStillpointError } from "#libs/errors";
import type { Cluster } from "../harness/cluster.ts";
import { freshId } from "./clone-scenarios.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { checkpointsOf, ensureVm, runInGuest, type Stage, subject } from "./stage.ts";

const project = "projects/default";
const partner = `${project}/vms/partner`;
const members = [subject, partner];
const group = `${project}/groups/pair`;

/** Two guests at one instant: whatever is killed, both have the checkpoint and of one kind, and neither stays frozen. */
export const grouping: Scenario = {
  prepare: prepareGroup,
  async act({ cluster }) {
    const displayName = freshId("together");
    await carryThrough(cluster, (requestId) =>
      cluster.api.groups.createGroupCheckpoint({ parent: group, displayName, requestId }),
    );
    return displayName;
  },
  verify: expectTogether,
  cleanUp: deleteGroupCheckpoint,
};

/** Both go, and a repeated request is told so. */
export const ungrouping: Scenario = {
  async prepare(stage) {
    await prepareGroup(stage);
    await grouping.act(stage);
  },
  async act({ cluster }) {
    const { checkpoints } = await cluster.api.groups.listGroupCheckpoints({ parent: group });
    const { name = "", displayName = "" } = checkpoints.at(-1) ?? {};
    await carryThrough(cluster, (requestId) => cluster.api.groups.deleteGroupCheckpoint({ name, requestId }));
    return displayName;
  },
  verify: expectNothing,
};

async function prepareGroup(stage: Stage): Promise<void> {
  const { cluster } = stage;
  await stage.reset();
  await ensureVm(cluster, partner, { start: true, memoryMiB: 128 });
  await runInGuest(cluster, partner, "true");
  const groupId = group.split("/").at(-1) ?? "";
  await cluster.api.groups
    .createGroup({ parent: project, groupId, members, checkpointType: "CHECKPOINT_TYPE_PRODUCTION" })
    .catch((error: unknown) => {
      if (!isStillpointError(error, "GROUP_EXISTS")) throw error;
    });
}

async function expectTogether({ cluster }: Stage, displayName: string): Promise<void> {
  const { groups } = cluster.api;
  const checkpoint = await untilAnswered(() =>
    groups.getGroupCheckpoint({ name: `${group}/checkpoints/${displayName}` }),
  );
  const kinds = new Set(checkpoint.members.map(({ kind }) => kind));
  if (kinds.size !== 1) throw new Error(`the members differ: ${[...kinds].join(", ")}`);
  const isWhole = checkpoint.members.every(({ kind }) => kind === "CHECKPOINT_KIND_PRODUCTION");
  // A fallback is a truth too, if it is told.
  if (!isWhole && !(checkpoint.fellBack && checkpoint.reason !== "")) throw new Error("a fallback is not told");
  for (const [index, vm] of members.entries()) {
    const own = await namedOf(cluster, vm, displayName);
    if (own.length !== 1 || own[0]?.name !== checkpoint.members[index]?.checkpoint) {
      throw new Error(`${vm} has ${own.length} checkpoints ${displayName}`);
    }
  }
  await expectFree(cluster);
}

async function expectNothing({ cluster }: Stage, displayName: string): Promise<void> {
  const { checkpoints } = await untilAnswered(() => cluster.api.groups.listGroupCheckpoints({ parent: group }));
  const left = await Promise.all(members.map((vm) => namedOf(cluster, vm, displayName)));
  const names = [...checkpoints.filter((it) => it.displayName === displayName), ...left.flat()].map(({ name }) => name);
  if (names.length > 0) throw new Error(`left behind: ${names.join(", ")}`);
  await expectFree(cluster);
}

/** Nobody holds the group, and its guests write. */
async function expectFree(cluster: Cluster): Promise<void> {
  const { operation } = await untilAnswered(() => cluster.api.groups.getGroup({ name: group }));
  if (operation !== "") throw new Error(`${group} is still held by ${operation}`);
  for (const vm of members) await runInGuest(cluster, vm, "sh", "-c", "echo alive >/data/alive && sync");
}

async function namedOf(cluster: Cluster, vm: string, displayName: string) {
  return (await checkpointsOf(cluster, vm)).filter((checkpoint) => checkpoint.displayName === displayName);
}

async function deleteGroupCheckpoint({ cluster }: Stage, displayName: string): Promise<void> {
  const name = `${group}/checkpoints/${displayName}`;
  await carryThrough(cluster, (requestId) => cluster.api.groups.deleteGroupCheckpoint({ name, requestId }));
}
