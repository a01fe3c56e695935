import { randomUUID } from "node:crypto";
import type { VmDefinition } from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { below } from "../machine-spec.ts";
import type { Manifest } from "../manifest.ts";
import type { HeldImage } from "../ports.ts";
import { makeSeed } from "../seed.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import type { AgentParts } from "./agent-parts.ts";

/** How many system users there are for VMs. */
const PROCESS_UIDS = 60_000;

/** Pulls the image where there is one, writes down the VM, and makes the files that the manifest names. */
export async function createVm(parts: AgentParts, context: StepContext, definition: VmDefinition): Promise<Workload> {
  refuseWrong(context, definition);
  using image = definition.image === "" ? undefined : await pullImage(parts, context, definition.image);
  const known = parts.workloads.find(definition.uid);
  const complete = { ...definition, disks: withRootSize(definition, image?.virtualSizeBytes ?? 0) };
  const workload = known ?? (await parts.workloads.add(complete, newManifest(parts, context, complete)));
  for (const [disk, { sizeBytes, now }] of Object.entries(workload.manifest.disks)) {
    const base = await below(workload, parts.images, now);
    await parts.disks.create({
      path: workload.folder.layer(disk, now),
      ...(base && { below: base }),
      sizeBytes,
      processUid: workload.manifest.processUid,
    });
  }
  if (definition.userData.length > 0) await seed(workload);
  if (definition.recovery === Recovery.RESTART) await parts.fence.prepare(); // so that its start does not wait for it
  return workload;
}

function pullImage({ images }: AgentParts, { signal, progress }: StepContext, image: string): Promise<HeldImage> {
  return images.pull(image, { signal, progress: (bytes) => progress({ ...bytes, message: "pulling the image" }) });
}

function refuseWrong({ uid }: StepContext, definition: VmDefinition): void {
  const [root] = definition.disks;
  if (definition.image === "" && root?.sizeBytes === 0) throw wrong("without an image the root disk needs a size");
  if (definition.uid !== uid) throw wrong(`the definition of ${definition.uid} came for ${uid}`);
  if (root?.id !== "root") throw wrong("the first disk must be root");
  if (definition.cpus < 1 || definition.cpus > 256) throw wrong(`${definition.cpus} is not 1 to 256 CPUs`);
  if (definition.memoryBytes < 32 * 2 ** 20)
    throw wrong(`${definition.memoryBytes} bytes of memory are less than 32 MiB`);
  const wrongDisk = definition.disks.find(({ id, sizeBytes }) => id !== "root" && (sizeBytes <= 0 || sizeBytes % 512));
  if (wrongDisk !== undefined) throw wrong(`disk ${wrongDisk.id} must be a multiple of 512 bytes`);
}

function withRootSize({ disks }: VmDefinition, imageBytes: number): VmDefinition["disks"] {
  return disks.map((disk) => {
    if (disk.id !== "root") return disk;
    if (disk.sizeBytes === 0) return { ...disk, sizeBytes: imageBytes };
    if (disk.sizeBytes >= imageBytes) return disk;
    throw wrong(`the root disk (${disk.sizeBytes} bytes) must hold the image (${imageBytes} bytes)`);
  });
}

function newManifest(parts: AgentParts, { operation, epoch }: StepContext, definition: VmDefinition): Manifest {
  const made = definition.disks.map(({ id, sizeBytes }) => ({ id, sizeBytes, layer: newLayerId(parts) }));
  return {
    version: 1,
    uid: definition.uid,
    owner: { operation, epoch },
    machineType: parts.hypervisor.machineType,
    generationId: randomUUID(),
    processUid: freeProcessUid(parts),
    power: "off",
    disks: Object.fromEntries(made.map(({ id, sizeBytes, layer }) => [id, { sizeBytes, now: layer }])),
    layers: Object.fromEntries(
      made.map(({ id, layer }) => [layer, { disk: id, parent: null, base: baseOf(definition, id) }]),
    ),
    checkpoints: {},
    head: null,
    pending: null,
  };
}

function baseOf({ image }: VmDefinition, disk: string): string | null {
  return disk === "root" && image !== "" ? image : null;
}

/** A layer's name, unique and ordered by time. */
export function newLayerId({ random }: Pick<AgentParts, "random">): string {
  return random.id("layer").slice("layer-".length);
}

/** A system user that no other VM here runs as. */
function freeProcessUid({ firstProcessUid, workloads }: AgentParts): number | null {
  if (firstProcessUid === null) return null;
  const taken = new Set(workloads.list().map(({ manifest }) => manifest.processUid));
  for (let uid = firstProcessUid; uid < firstProcessUid + PROCESS_UIDS; uid++) if (!taken.has(uid)) return uid;
  throw new StillpointError("CAPABILITY_MISSING", "every system user for VMs is taken on this host");
}

async function seed({ definition, folder, uid }: Workload): Promise<void> {
  const hostname = definition.name.split("/").at(-1) ?? uid;
  await makeSeed({ path: folder.seed, folder: folder.root, uid, hostname, userData: definition.userData });
}

function wrong(why: string): StillpointError {
  return new StillpointError("ARGUMENT_INVALID", `the VM cannot be made: ${why}`);
}
