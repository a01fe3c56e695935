import type { CheckpointOutcome, VerifyCheckpoint } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Workload } from "../workload.ts";
import {
  ext4State,
  PARTITION_TABLE_BYTES,
  partitionStarts,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_OFFSET,
} from "./file-systems.ts";
import { checkpointOf } from "./layer-tree.ts";

type FileSystemState = "clean" | "needs_recovery";

/** Looks at the frozen image itself, without the guest. What it cannot read it says nothing about. */
export async function verifyCheckpoint(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid }: VerifyCheckpoint,
): Promise<CheckpointOutcome> {
  const { layers } = checkpointOf(workload.manifest, checkpointUid);
  const states: FileSystemState[] = [];
  for (const [disk, layer] of Object.entries(layers)) {
    const sizeBytes = workload.manifest.disks[disk]?.sizeBytes ?? 0;
    states.push(...(await fileSystems(parts, workload.folder.layer(disk, layer), sizeBytes)));
  }
  const evidence = { verification: { ...summaryOf(states), fileSystems: states.length } };
  return { refusedReason: "", refusedDetail: "", evidence, sizeBytes: 0 };
}

/** One file system that needs recovery spoils the whole. Pure. */
export function summaryOf(states: readonly FileSystemState[]): { method: string; result: string } {
  if (states.length === 0) return { method: "none", result: "unknown" };
  return { method: "ext4-superblock", result: states.includes("needs_recovery") ? "needs_recovery" : "clean" };
}

async function fileSystems({ disks }: AgentParts, path: string, sizeBytes: number): Promise<FileSystemState[]> {
  if (sizeBytes < PARTITION_TABLE_BYTES) return [];
  const states: FileSystemState[] = [];
  for (const start of partitionStarts(await disks.read(path, 0, PARTITION_TABLE_BYTES))) {
    const at = start + SUPERBLOCK_OFFSET;
    if (at + SUPERBLOCK_BYTES > sizeBytes) continue;
    const state = ext4State(await disks.read(path, at, SUPERBLOCK_BYTES));
    if (state !== undefined) states.push(state);
  }
  return states;
}
