import { join } from "node:path";
import type { PushCheckpoint, StepResult } from "#contracts/host/v1/agent";
import { changedRanges, dataRanges } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import {
  type CheckpointConfig,
  type CheckpointContents,
  type DiskToPush,
  type PushedCheckpoint,
  pushCheckpoint,
  readCheckpoint,
} from "#libs/oci";
import type { AgentParts } from "../actions/agent-parts.ts";
import { bootOf } from "../machine-spec.ts";
import type { Manifest } from "../manifest.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { refuseDamaged } from "./digests.ts";
import { chainOf, checkpointOf } from "./layer-tree.ts";
import { findPushed, type KnownPush, writePushedMap } from "./pushed-map.ts";
import { RAM_FILE } from "./ram-file.ts";
import { undisturbed } from "./undisturbed.ts";

/**
 * Sends a checkpoint to the registry while its VM goes on. Of its disks only the clusters are read that the layers
 * hold since the last checkpoint below it that was pushed there; without one, all that hold data.
 */
export async function pushToRegistry(
  parts: AgentParts,
  context: StepContext,
  { checkpointUid, workloadUid, repository, tag, record }: PushCheckpoint,
): Promise<StepResult> {
  const workload = parts.workloads.get(workloadUid);
  const { registry, logger } = parts;
  const { kind, parent } = checkpointOf(workload.manifest, checkpointUid);
  const { signal } = context;
  const known = await findPushed([checkpointUid, ...ancestorsOf(workload.manifest, parent)], {
    ...{ folderOf: (uid) => workload.folder.checkpoint(uid), read: readCheckpoint },
    ...{ registry, repository, logger, signal },
  });
  const turn = undisturbed(parts, workloadUid, checkpointUid);
  let disks: readonly DiskToPush[] = [];
  await turn(async () => {
    await refuseDamaged(parts, workload, checkpointUid);
    disks = await disksToPush(workload, checkpointUid, known, signal);
  });
  await failpoint("agent.push-checkpoint.planned");
  const { kernel, initrd, cmdline = "" } = (await bootOf(workload, parts.images)) ?? {};
  const subject = subjectOf(known, checkpointUid);
  const pushed = await pushCheckpoint({
    ...{ registry, repository, tag, disks, turn, signal },
    config: { ...configOf(workload.manifest, checkpointUid, record ?? {}), cmdline },
    receipt: (record?.receipt as object | undefined) ?? {},
    ...(kernel !== undefined && { kernel, ...(initrd !== undefined && { initrd }) }),
    ...(kind === "standard" && { ram: join(workload.folder.checkpoint(checkpointUid), RAM_FILE) }),
    ...(subject && { subject }),
    async onProgress({ doneBytes, totalBytes }) {
      context.progress({ bytesDone: doneBytes, bytesTotal: totalBytes, message: `to ${repository}:${tag}` });
      if (2 * doneBytes >= totalBytes) await failpoint("agent.push-checkpoint.chunk");
    },
  });
  const { descriptor, contents } = pushed;
  await writePushedMap(workload.folder.checkpoint(checkpointUid), { repository, descriptor, subject, ...contents });
  return { workload: undefined, checkpoint: undefined, pushed: outcomeOf(pushed) };
}

/** Nearest first. */
export function ancestorsOf(
  { checkpoints }: { readonly checkpoints: Readonly<Record<string, { readonly parent: string | null }>> },
  parent: string | null,
): string[] {
  const ancestors: string[] = [];
  for (let uid = parent; uid !== null; uid = checkpoints[uid]?.parent ?? null) ancestors.push(uid);
  return ancestors;
}

/** A checkpoint that is pushed again has the subject that it had. */
export function subjectOf(known: Omit<KnownPush<unknown>, "contents"> | undefined, checkpointUid: string) {
  return known?.uid === checkpointUid ? known.subject : known?.descriptor;
}

async function disksToPush(
  workload: Workload,
  checkpointUid: string,
  known: KnownPush<CheckpointContents> | undefined,
  signal: AbortSignal,
): Promise<DiskToPush[]> {
  const { layers } = checkpointOf(workload.manifest, checkpointUid);
  return await Promise.all(
    Object.entries(layers).map(async ([id, top]) => {
      const pathNow = () => workload.folder.layer(id, checkpointOf(workload.manifest, checkpointUid).layers[id] ?? top);
      const path = pathNow();
      const disk = {
        id,
        format: "qcow2" as const,
        virtualSizeBytes: workload.manifest.disks[id]?.sizeBytes ?? 0,
      };
      const since = known && layersSince(workload.manifest, top, workload.manifest.checkpoints[known.uid]?.layers[id]);
      const before = known?.contents.disks.find((it) => it.id === id);
      if (since === undefined || before?.virtualSizeBytes !== disk.virtualSizeBytes) {
        return { ...disk, path: pathNow, ranges: await dataRanges(path, "qcow2", { signal }), known: [] };
      }
      const changed = since.map((layer) => workload.folder.layer(id, layer));
      return { ...disk, path: pathNow, ranges: await changedRanges(changed, { signal }), known: before.chunks };
    }),
  );
}

/** The layers of a disk above one of its chain, the top first; undefined when that is not in its chain. */
function layersSince(manifest: Manifest, top: string, below: string | undefined): string[] | undefined {
  const chain = chainOf(manifest, top).reverse();
  const end = below === undefined ? -1 : chain.indexOf(below);
  return end < 0 ? undefined : chain.slice(0, end);
}

function configOf(
  manifest: Manifest,
  checkpointUid: string,
  record: Readonly<Record<string, unknown>>,
): Omit<CheckpointConfig, "version" | "disks" | "ram"> {
  const { kind, machine, paused = false } = checkpointOf(manifest, checkpointUid);
  return { ...toldOf(record), kind, uid: checkpointUid, machine: { ...machine }, paused };
}

/** What the control plane tells of a checkpoint that is pushed. @throws StillpointError ARGUMENT_INVALID */
export function toldOf(record: Readonly<Record<string, unknown>>) {
  const word = (key: string) => {
    const value = record[key];
    if (typeof value === "string") return value;
    throw new StillpointError("ARGUMENT_INVALID", `the checkpoint's record lacks ${key}`);
  };
  return {
    consistency: word("consistency"),
    ...{ name: word("name"), displayName: word("displayName"), parent: word("parent") },
    createTime: word("createTime"),
    spec: (record.spec as Record<string, unknown> | undefined) ?? {},
  };
}

export function outcomeOf({
  descriptor,
  sentBytes,
  totalBytes,
  sentChunks,
  totalChunks,
}: Omit<PushedCheckpoint, "contents">) {
  return {
    digest: descriptor.digest,
    ...{ bytesSent: sentBytes, bytesTotal: totalBytes, chunksSent: sentChunks, chunksTotal: totalChunks },
  };
}
