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

/**
 * Looks at the frozen image itself, without the guest. What it cannot read it says nothing about; an image that is
 * not clean is answered with the reason `verify.unclean`, and what was taken stays until it is discarded.
 */
export async function verifyCheckpoint(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid }: VerifyCheckpoint,
): Promise<CheckpointOutcome> {
  const { layers } = checkpointOf(workload.manifest, checkpointUid);
  const disks = Object.entries(layers).map(([disk, layer]) => {
    const sizeBytes = workload.manifest.disks[disk]?.sizeBytes ?? 0;
    return fileSystems(parts, workload.folder.layer(disk, layer), sizeBytes);
  });
  const states = (await Promise.all(disks)).flat();
  const evidence = { verification: { ...summaryOf(states), fileSystems: states.length } };
  return { ...judgementOf(states), evidence, sizeBytes: 0 };
}

/** Pure. */
export function judgementOf(states: readonly FileSystemState[]) {
  const unclean = states.filter((state) => state === "needs_recovery").length;
  if (unclean === 0) return { refusedReason: "", refusedDetail: "" };
  const refusedDetail = `${unclean} of ${states.length} file systems in the image have a journal to replay`;
  return { refusedReason: "verify.unclean", refusedDetail };
}

/** One file system that needs recovery spoils the whole. Pure. */
export function summaryOf(states: readonly FileSystemState[]): { method: string; result: string } {
  if (states.length === 0) return { method: "none", result: "unknown" };
  return { method: "ext4-superblock", result: states.includes("needs_recovery") ? "needs_recovery" : "clean" };
}

async function fileSystems({ disks }: AgentParts, path: string, sizeBytes: number): Promise<FileSystemState[]> {
  if (sizeBytes < PARTITION_TABLE_BYTES) return [];
  const states: FileSystemState[] = [];
  const head = await disks.read(path, 0, PARTITION_TABLE_BYTES);
  for (const start of partitionStarts(head)) {
    const at = start + SUPERBLOCK_OFFSET;
    const end = at + SUPERBLOCK_BYTES;
    if (end > sizeBytes) continue;
    const state = ext4State(end <= head.length ? head.subarray(at, end) : await disks.read(path, at, SUPERBLOCK_BYTES));
    if (state !== undefined) states.push(state);
  }
  return states;
}
