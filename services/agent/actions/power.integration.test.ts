import { randomBytes } from "node:crypto";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createEmpty, createOverlay, openGuestDisk } from "#libs/disk-image";
import { silentLogger } from "#libs/logger";
import { temporaryFolder } from "#libs/testing";
import { BackgroundWork } from "../checkpoints/background-work.ts";
import { discardCheckpoint } from "../checkpoints/remove.ts";
import { createLocalDisks } from "../disks.ts";
import type { Manifest } from "../manifest.ts";
import { vmDefinition } from "../testing/test-host.ts";
import { Workload } from "../workload.ts";
import { dataFolder, workloadFolder } from "../workload-folder.ts";
import type { AgentParts } from "./agent-parts.ts";
import { startVm } from "./power.ts";

const MIB = 2 ** 20;
const checkpoint = "ckpt-00000000-0000-7000-8000-000000000000";

/** A VM that is off, with a disk of one empty layer. */
async function vmIn(data: string, change: Partial<Manifest>) {
  const definition = vmDefinition("");
  const folder = workloadFolder(dataFolder(data), definition.uid);
  for (const path of [folder.disk("root"), folder.checkpoints]) await mkdir(path, { recursive: true });
  await createEmpty({ path: folder.layer("root", "now"), sizeBytes: MIB });
  const manifest: Manifest = {
    ...{ version: 1, uid: definition.uid, owner: { operation: "op", epoch: 1 }, machineType: "q35", generationId: "" },
    ...{ processUid: null, power: "crashed", checkpoints: {}, head: null, pending: null },
    disks: { root: { sizeBytes: MIB, now: "now" } },
    layers: { now: { disk: "root", parent: null, base: null } },
    ...change,
  };
  const deps = {
    logger: silentLogger,
    reserve: { spend: (write: () => Promise<void>) => write() },
    observe: () => undefined,
  };
  return new Workload(definition, folder, manifest, deps);
}

/** An agent whose hypervisor starts nothing. */
function partsOf(data: string, start: AgentParts["hypervisor"]["start"]): AgentParts {
  const parts: Partial<AgentParts> = {
    disks: createLocalDisks(data),
    merges: new BackgroundWork({ logger: silentLogger }),
  };
  return { ...parts, storage: { changed: () => undefined }, hypervisor: { start } } as unknown as AgentParts;
}

test("a VM whose machine ended in the middle of a checkpoint starts with all that its guest had written", async () => {
  await using folder = temporaryFolder();
  const pending = { operation: "op", checkpoint, layers: { root: "newer" }, ownStop: false };
  const workload = await vmIn(folder.path, { pending });
  const [now, newer] = ["now", "newer"].map((layer) => workload.folder.layer("root", layer)) as [string, string];
  await createOverlay({ path: newer, backing: now, backingFormat: "qcow2" });
  const written = randomBytes(4096);
  {
    await using disk = await openGuestDisk({ path: newer, format: "qcow2", writable: true });
    await disk.write(8192, written);
    await disk.flush();
  }
  const parts = partsOf(folder.path, async ({ disks: [root] }) => {
    await using disk = await openGuestDisk({ path: root?.chain.at(-1)?.path ?? "", format: "qcow2" });
    expect((await disk.read(8192, 4096)).equals(written)).toBe(true);
    throw new Error("seen");
  });
  await expect(startVm(parts, workload)).rejects.toThrow("seen");
  expect(workload.manifest.pending).toBeNull();
});

test("of a checkpoint that was not received whole nothing stays once it is discarded", async () => {
  await using folder = temporaryFolder();
  const machine = { qemu: "", machineType: "q35", cpu: "", cpus: 1, memoryBytes: MIB, disks: ["root"] };
  const layers = { coming: { disk: "root", parent: null, base: null } };
  const plan = { kind: "offline", machine, paused: false, layers, tops: { root: "coming" }, diskBytes: {} } as const;
  const workload = await vmIn(folder.path, { receiving: { operation: "op", checkpoint, plan } });
  for (const name of ["coming.qcow2", "coming.qcow2.part"]) {
    await createEmpty({ path: join(workload.folder.disk("root"), name), sizeBytes: MIB });
  }
  const parts = partsOf(folder.path, () => Promise.reject(new Error("not started")));
  const signal = new AbortController().signal;
  const context = { uid: workload.uid, operation: "op", epoch: 1, signal, progress: () => undefined };
  await discardCheckpoint(parts, context, workload, { checkpointUid: checkpoint });
  expect(workload.manifest.receiving).toBeNull();
  expect(await readdir(workload.folder.disk("root"))).toEqual(["now.qcow2"]);
});
