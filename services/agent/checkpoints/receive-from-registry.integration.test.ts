import { join } from "node:path";
import { expect, test } from "vitest";
import { systemRandom } from "#libs/clock";
import { createEmpty } from "#libs/disk-image";
import { MemoryRegistry, pushCheckpoint } from "#libs/oci";
import { temporaryFolder } from "#libs/testing";
import type { AgentParts } from "../actions/agent-parts.ts";
import { vmDefinition } from "../testing/test-host.ts";
import type { Workload } from "../workload.ts";
import { registrySource } from "./receive-from-registry.ts";

test.each([
  ["pc-q35-7.2", undefined],
  ["pc-q35-7.2,kernel=/etc/shadow", "IMAGE_INVALID"],
])("a checkpoint of a machine that is called %s: %s", async (machineType, reason) => {
  await using folder = temporaryFolder();
  const registry = new MemoryRegistry();
  const path = join(folder.path, "disk.qcow2");
  await createEmpty({ path, sizeBytes: 2 ** 20 });
  const machine = { qemu: "7.2", machineType, cpu: "tcg:max", cpus: 1, memoryBytes: 2 ** 28, disks: ["root"] };
  await pushCheckpoint({
    ...{ registry, repository: "vm", tag: "one", receipt: {} },
    disks: [{ id: "root", virtualSizeBytes: 2 ** 20, path: () => path, format: "qcow2", ranges: [], known: [] }],
    config: {
      ...{ consistency: "application", kind: "production", uid: "ckpt-1", name: "", displayName: "", parent: "" },
      ...{ createTime: "", spec: {}, machine, paused: false },
    },
  });
  const parts = { registry, random: systemRandom } as unknown as AgentParts;
  const workload = { definition: vmDefinition(""), manifest: { processUid: null } } as Workload;
  const context = {
    ...{ uid: "", operation: "", epoch: 1 },
    signal: AbortSignal.timeout(30_000),
    progress: () => undefined,
  };
  const planned = registrySource(parts, context, workload, "vm:one").plan(undefined);
  if (reason === undefined) await expect(planned).resolves.toMatchObject({ machine: { machineType } });
  else await expect(planned).rejects.toMatchObject({ reason });
});
