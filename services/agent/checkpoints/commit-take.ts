import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointOutcome } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import { syncFolder, writeDurably } from "../durable-file.ts";
import type { CheckpointKind, MachineFacts } from "../manifest.ts";
import type { Workload } from "../workload.ts";
import { queueDigests } from "./digests.ts";
import { takenLayers, withTaken } from "./layer-tree.ts";
import { queueMerges } from "./merge.ts";
import { unfinishedFolder } from "./pending.ts";

export interface Taken {
  readonly checkpointUid: string;
  readonly kind: CheckpointKind;
  /** The evidence that this kind adds. */
  readonly evidence: Readonly<Record<string, unknown>>;
  /** Size of the RAM file in the unfinished folder; 0 for none. */
  readonly ramBytes: number;
  /** The VM stood still because its user wanted it so. */
  readonly paused?: boolean;
}

/** The answer of a take, in the checkpoint's folder. */
export const OUTCOME_FILE = "outcome.json";

/**
 * Makes a checkpoint whose layers are frozen real: its folder appears whole, then the manifest names it, then its
 * layers are made read-only. Before the manifest nothing is kept, after it nothing is lost.
 */
export async function commitTake(parts: AgentParts, workload: Workload, taken: Taken): Promise<CheckpointOutcome> {
  const { checkpointUid, kind, ramBytes, paused = false } = taken;
  const machine = machineFacts(parts, workload);
  const frozen = takenLayers(workload.manifest);
  const outcome = await describe(parts, workload, taken, machine);
  const unfinished = unfinishedFolder(workload, checkpointUid);
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  const manifest = { version: 1, uid: checkpointUid, kind, machine, layers: frozen, ramBytes };
  await writeDurably(join(unfinished, "manifest.json"), JSON.stringify(manifest, null, 1));
  await writeDurably(join(unfinished, OUTCOME_FILE), JSON.stringify(CheckpointOutcome.toJSON(outcome), null, 1));
  const finished = workload.folder.checkpoint(checkpointUid);
  await rm(finished, { recursive: true, force: true });
  await rename(unfinished, finished);
  await syncFolder(workload.folder.checkpoints);
  await workload.save((current) => withTaken(current, { kind, machine, paused }));
  for (const [disk, layer] of Object.entries(frozen)) await parts.disks.seal(workload.folder.layer(disk, layer));
  queueDigests(parts, workload, checkpointUid);
  queueMerges(parts, workload);
  return outcome;
}

/** The answer of a take that was finished before, for one that asks again. */
export async function storedOutcome(workload: Workload, checkpointUid: string): Promise<CheckpointOutcome | undefined> {
  if (workload.manifest.checkpoints[checkpointUid] === undefined) return undefined;
  const text = await readFile(join(workload.folder.checkpoint(checkpointUid), OUTCOME_FILE), "utf8");
  return CheckpointOutcome.fromJSON(JSON.parse(text));
}

/** A production checkpoint that was not reached; nothing of it is left. */
export function refused(reason: string, detail: string, evidence: Record<string, unknown> = {}): CheckpointOutcome {
  return { refusedReason: reason, refusedDetail: detail, evidence, sizeBytes: 0 };
}

export function machineFacts({ hypervisor }: AgentParts, { definition, manifest }: Workload): MachineFacts {
  return {
    qemu: hypervisor.version,
    machineType: manifest.machineType,
    cpu: `${hypervisor.accelerator}:${hypervisor.cpu}`,
    cpus: definition.cpus,
    memoryBytes: definition.memoryBytes,
    disks: definition.disks.map(({ id }) => id),
  };
}

async function describe(
  parts: AgentParts,
  workload: Workload,
  { evidence, ramBytes }: Taken,
  { qemu, machineType, cpu, memoryBytes }: MachineFacts,
): Promise<CheckpointOutcome> {
  const layers = takenLayers(workload.manifest);
  const disks = await Promise.all(
    workload.definition.disks.map(async ({ id, excludeFromCheckpoints }) => {
      const layer = layers[id];
      const why = excludeFromCheckpoints ? "the VM leaves it out" : "it was asked to be left out";
      if (layer === undefined) return { id, included: false, why, bytes: 0 };
      const bytes = await parts.disks.usedBytes(workload.folder.layer(id, layer));
      return { id, included: true, why: "", bytes, layer, digest: "pending" };
    }),
  );
  return {
    refusedReason: "",
    refusedDetail: "",
    evidence: {
      ...evidence,
      disks,
      ...(ramBytes > 0 && { ram: { bytes: ramBytes, digest: "pending" } }),
      machine: { qemu, machineType, cpu, memoryBytes },
    },
    sizeBytes: disks.reduce((sum, { bytes }) => sum + bytes, ramBytes),
  };
}
