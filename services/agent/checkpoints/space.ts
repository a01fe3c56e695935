import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Workload } from "../workload.ts";

/** For a new layer of each disk, and left free by a merge: a guest whose writes find no space is stopped by QEMU. */
export const RESERVE_BYTES = 64 * 2 ** 20;

/** Why there is no space for a checkpoint, in words; undefined when there is. @param ramBytes 0 without RAM */
export async function spaceShortage(
  { disks }: AgentParts,
  { definition, manifest }: Workload,
  ramBytes: number,
): Promise<string | undefined> {
  const neededBytes = RESERVE_BYTES * Object.keys(manifest.disks).length + ramBytes;
  const freeBytes = await disks.freeBytes();
  if (freeBytes >= neededBytes) return undefined;
  return `a checkpoint of ${definition.name} may take ${neededBytes} bytes; ${freeBytes} are free`;
}

/** @throws StillpointError SPACE_INSUFFICIENT */
export async function refuseShortage(parts: AgentParts, workload: Workload, ramBytes: number): Promise<void> {
  const shortage = await spaceShortage(parts, workload, ramBytes);
  if (shortage === undefined) return;
  throw new StillpointError("SPACE_INSUFFICIENT", shortage, { metadata: { reason: "space.insufficient" } });
}
