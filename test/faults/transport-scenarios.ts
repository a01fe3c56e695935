import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { OperationState } from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import { createRegistryClient, findRemoteCheckpoint } from "#libs/oci";
import { eventually } from "#libs/testing";
import { untilDone } from "../harness/vm-client.ts";
import { expectNewVm, expectNoVm, freshId, nameOf } from "./clone-scenarios.ts";
import type { TransportScenario } from "./kill-points.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { deleteVm, type Stage } from "./stage.ts";

/** The standard checkpoint that every case begins from lies here once it was pushed. */
const source = "faults/source:base";
const project = "projects/default";

export const transportScenarios: Readonly<Record<TransportScenario, Scenario>> = {
  push: {
    async act({ cluster, base }) {
      const reference = `faults/${freshId("push")}:one`;
      await carryThrough(cluster, (requestId) =>
        cluster.api.checkpoints.pushCheckpoint({ name: base, reference, requestId }),
      );
      return reference;
    },
    verify: expectPushed,
  },
  "push-cancelled": {
    async act(stage) {
      const reference = `faults/${freshId("push")}:one`;
      await cancelWithoutAgent(stage, (requestId) =>
        stage.cluster.api.checkpoints.pushCheckpoint({ name: stage.base, reference, requestId }),
      );
      return reference;
    },
    verify: expectNotPushed,
  },
  pull: {
    prepare: pushSource,
    async act({ cluster }) {
      const vmId = freshId("pulled");
      await carryThrough(cluster, (requestId) =>
        cluster.api.checkpoints.pullCheckpoint({ reference: source, parent: project, vmId, start: true, requestId }),
      );
      return nameOf(vmId);
    },
    verify: expectNewVm,
    cleanUp: ({ cluster }, name) => deleteVm(cluster, name),
  },
  "pull-cancelled": {
    prepare: pushSource,
    async act(stage) {
      const vmId = freshId("pulled");
      await cancelWithoutAgent(stage, (requestId) =>
        stage.cluster.api.checkpoints.pullCheckpoint({ reference: source, parent: project, vmId, requestId }),
      );
      return nameOf(vmId);
    },
    verify: expectNoVm,
  },
};

async function pushSource({ cluster, base }: Stage): Promise<void> {
  await carryThrough(cluster, (requestId) =>
    cluster.api.checkpoints.pushCheckpoint({ name: base, reference: source, requestId }),
  );
}

/** The operation is cancelled between the agent's death and its next life. */
async function cancelWithoutAgent(
  { cluster }: Stage,
  ask: (requestId: string) => Promise<{ name?: string }>,
): Promise<void> {
  const { agent } = cluster.services;
  const { deaths } = agent;
  agent.hold();
  try {
    const { name = "" } = await ask(crypto.randomUUID());
    await agent.untilDead(deaths, 30_000);
    await cluster.api.operations.cancelOperation({ name });
    agent.release();
    const { state, error } = await untilAnswered(() => untilDone(cluster.api.operations, name));
    if (state !== OperationState.CANCELLED) throw new Error(`what was cancelled is ${state}: ${error?.message}`);
  } finally {
    agent.release();
  }
}

/** The checkpoint tells where it is, and every blob of it is there and whole. */
async function expectPushed({ cluster, base }: Stage, reference: string): Promise<void> {
  const { pushed, operation } = await untilAnswered(() => cluster.api.checkpoints.getCheckpoint({ name: base }));
  const told = pushed.filter((it) => it.reference === reference);
  if (told.length !== 1 || operation !== "") throw new Error(`${base} names ${reference} ${told.length} times`);
  await nothingHalfSent(cluster);
  await withRegistry(cluster, async (registry) => {
    const { repository, descriptor, disks, ram } = await findRemoteCheckpoint(registry, reference);
    if (descriptor.digest !== told[0]?.digest) throw new Error(`${reference} is not the digest that was told`);
    const blobs = [...disks.flatMap(({ chunks }) => chunks), ...ram].map(({ blob }) => blob);
    for (const blob of blobs) await registry.readBlob(repository, blob);
  });
}

/** Nothing can be seen under its name, and the checkpoint is free. */
async function expectNotPushed({ cluster, base }: Stage, reference: string): Promise<void> {
  const { pushed, operation } = await untilAnswered(() => cluster.api.checkpoints.getCheckpoint({ name: base }));
  if (operation !== "") throw new Error(`${base} is still held by ${operation}`);
  if (pushed.some((it) => it.reference === reference)) throw new Error(`${base} says that it is at ${reference}`);
  const found = await withRegistry(cluster, (registry) => findRemoteCheckpoint(registry, reference)).catch(
    (error: unknown) => {
      if (!isStillpointError(error, "IMAGE_NOT_FOUND")) throw error;
    },
  );
  if (found !== undefined) throw new Error(`${reference} is in the registry`);
  await nothingHalfSent(cluster);
}

/** What the agent was sending as it died is no file of the registry's. */
async function nothingHalfSent({ folder }: Stage["cluster"]): Promise<void> {
  await eventually(async () => (await readdir(join(folder, "registry/tmp"))).length === 0);
}

async function withRegistry<Result>(
  { registryUrl }: Stage["cluster"],
  work: (registry: ReturnType<typeof createRegistryClient>) => Promise<Result>,
): Promise<Result> {
  const registry = createRegistryClient({ address: registryUrl });
  try {
    return await work(registry);
  } finally {
    registry.close();
  }
}
