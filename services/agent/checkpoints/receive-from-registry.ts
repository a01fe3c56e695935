import { access, chmod, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import { bytesToFetch, fetchDisk, fetchRam, findRemoteCheckpoint, type RemoteCheckpoint } from "#libs/oci";
import type { AgentParts } from "../actions/agent-parts.ts";
import { newLayerId } from "../actions/create-vm.ts";
import { syncFolder } from "../durable-file.ts";
import type { BootFiles, Layer, MachineFacts, ReceivePlan } from "../manifest.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { RAM_FILE } from "./ram-file.ts";
import type { ReceivePlaces, ReceiveSource } from "./receive-source.ts";

const machineShape = z.object({
  qemu: z.string(),
  // Becomes a part of QEMU's `-machine`, whose options a comma separates.
  machineType: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  cpu: z.string(),
  cpus: z.int().positive(),
  memoryBytes: z.int().positive(),
  disks: z.array(z.string()).min(1),
});

/**
 * A checkpoint in the registry: each disk becomes one layer that stands on nothing. Every byte is checked; what an
 * attempt that was cut off had brought is kept and checked again.
 */
export function registrySource(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  reference: string,
): ReceiveSource {
  const { registry } = parts;
  const { signal } = context;
  let found: Promise<RemoteCheckpoint> | undefined;
  const find = () => {
    found ??= findRemoteCheckpoint(registry, reference, signal);
    return found;
  };
  return {
    async plan(before) {
      return before ?? planOf(parts, workload, await find());
    },
    async fill(plan, places) {
      const checkpoint = await find();
      const fetching = new Fetching(parts, context, checkpoint, workload.manifest.processUid);
      for (const [disk, layer] of Object.entries(plan.tops)) await fetching.disk(disk, places.layer(disk, layer));
      if (plan.kind === "standard") await fetching.ram(join(places.checkpoint, RAM_FILE));
      await fetching.boot(plan, places);
    },
  };
}

function planOf(
  parts: AgentParts,
  { definition }: Workload,
  { config, disks, kernel, initrd }: RemoteCheckpoint,
): ReceivePlan {
  const layers: Record<string, Layer> = {};
  const tops: Record<string, string> = {};
  for (const { id } of disks) {
    const layer = newLayerId(parts);
    layers[layer] = { disk: id, parent: null, base: null };
    tops[id] = layer;
  }
  const boot: BootFiles | undefined =
    kernel === undefined || definition.image !== ""
      ? undefined
      : { kernel: kernel.digest, ...(initrd && { initrd: initrd.digest }), cmdline: config.cmdline ?? "" };
  return {
    kind: config.kind,
    machine: machineOf(config.machine),
    paused: config.paused,
    ...{ layers, tops },
    diskBytes: Object.fromEntries(disks.map(({ id, virtualSizeBytes }) => [id, virtualSizeBytes])),
    ...(boot && { boot }),
  };
}

function machineOf(machine: unknown): MachineFacts {
  const { success, data, error } = machineShape.safeParse(machine);
  if (success) return data;
  throw new StillpointError("IMAGE_INVALID", "the checkpoint does not say what machine it was taken on", {
    cause: error,
  });
}

/** Brings files, each under a name of its own until it is whole and durable. */
class Fetching {
  readonly #parts: AgentParts;
  readonly #checkpoint: RemoteCheckpoint;
  readonly #owner: number | null;
  readonly #common;

  constructor(parts: AgentParts, context: StepContext, checkpoint: RemoteCheckpoint, owner: number | null) {
    this.#parts = parts;
    this.#checkpoint = checkpoint;
    this.#owner = owner;
    const bytesTotal = bytesToFetch(checkpoint);
    let bytesDone = 0;
    const onBytes = async (bytes: number) => {
      bytesDone += bytes;
      context.progress({ bytesDone, bytesTotal, message: `from ${checkpoint.repository}` });
      if (2 * bytesDone >= bytesTotal) await failpoint("agent.receive-checkpoint.chunk");
    };
    this.#common = { registry: parts.registry, checkpoint, onBytes, signal: context.signal };
  }

  async disk(id: string, path: string): Promise<void> {
    const disk = this.#checkpoint.disks.find((it) => it.id === id);
    if (disk === undefined)
      throw new StillpointError("IMAGE_INVALID", `the checkpoint in the registry has no disk ${id}`);
    await this.#whole(path, (part) => fetchDisk(disk, { ...this.#common, path: part }));
    await this.#parts.disks.create({ path, sizeBytes: disk.virtualSizeBytes, processUid: this.#owner });
  }

  async ram(path: string): Promise<void> {
    await this.#whole(path, (part) => fetchRam({ ...this.#common, path: part }));
  }

  async boot({ boot }: ReceivePlan, places: ReceivePlaces): Promise<void> {
    const { kernel, initrd, repository } = this.#checkpoint;
    const { registry, signal } = this.#common;
    if (boot === undefined) return;
    await mkdir(places.boot, { recursive: true, mode: 0o711 });
    for (const [name, blob] of Object.entries({ kernel, initrd })) {
      if (blob === undefined) continue;
      await this.#whole(join(places.boot, name), async (part) => {
        await rm(part, { force: true });
        await registry.saveBlob(repository, blob, part, signal);
        // Each VM runs as its own user.
        await chmod(part, 0o444);
      });
    }
  }

  async #whole(path: string, make: (part: string) => Promise<void>): Promise<void> {
    if (await isThere(path)) return;
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    await make(`${path}.part`);
    await rename(`${path}.part`, path);
    await syncFolder(dirname(path));
  }
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
