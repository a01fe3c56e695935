import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointOutcome, type ReceiveCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import { syncFolder, writeDurably } from "../durable-file.ts";
import type { Manifest, ReceivePlan } from "../manifest.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { OUTCOME_FILE, storedOutcome } from "./commit-take.ts";
import { hasDigests, queueDigests } from "./digests.ts";
import { queueMerges } from "./merge.ts";
import { unfinishedFolder } from "./pending.ts";
import { RAM_FILE } from "./ram-file.ts";
import { registrySource } from "./receive-from-registry.ts";
import { receiveLocal } from "./receive-local.ts";
import type { ReceivePlaces, ReceiveSource } from "./receive-source.ts";
import { sweepFiles } from "./sweep-files.ts";

/**
 * Puts a checkpoint from elsewhere into this workload's tree, as a root of it. The manifest names its layers before
 * they are made; it becomes a checkpoint when all of it is there.
 */
export async function receiveCheckpoint(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  request: ReceiveCheckpoint,
): Promise<CheckpointOutcome> {
  const { checkpointUid, parentCheckpointUid } = request;
  if (parentCheckpointUid !== "") throw new StillpointError("ARGUMENT_INVALID", "what is received has no parent");
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const source = sourceOf(parts, context, workload, request);
  using _held = await source.hold?.();
  const plan = await begin(parts, context, workload, { checkpointUid, source });
  const places = placesOf(workload, checkpointUid);
  for (const folder of [places.checkpoint, places.boot]) await mkdir(folder, { recursive: true, mode: 0o711 });
  await source.fill(plan, places);
  await failpoint("agent.receive-checkpoint.filled");
  return await commit(parts, workload, { checkpointUid, operation: context.operation, plan });
}

function sourceOf(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { source }: ReceiveCheckpoint,
): ReceiveSource {
  if (source?.$case === "reference") return registrySource(parts, context, workload, source.value);
  if (source?.$case === "local") return receiveLocal(parts, context, workload, source.value);
  throw new StillpointError("ARGUMENT_INVALID", "the checkpoint's source is missing");
}

/** Writes down which layers there will be. What another attempt at another checkpoint left is removed. */
async function begin(
  parts: AgentParts,
  { operation }: StepContext,
  workload: Workload,
  { checkpointUid, source }: { readonly checkpointUid: string; readonly source: ReceiveSource },
): Promise<ReceivePlan> {
  const known = workload.manifest.receiving;
  const before = known?.checkpoint === checkpointUid ? known.plan : undefined;
  const plan = await source.plan(before);
  if (plan === before) return plan;
  refuseOtherDisks(workload.manifest, plan);
  const receiving = { operation, checkpoint: checkpointUid, plan };
  await workload.save((manifest) => ({ ...manifest, receiving }));
  if (known != null) await sweepFiles(parts, workload);
  return plan;
}

/** A disk of another size, or one that the VM has not got, cannot be put back. */
function refuseOtherDisks({ disks }: Manifest, { diskBytes }: ReceivePlan): void {
  for (const [disk, sizeBytes] of Object.entries(diskBytes)) {
    const own = disks[disk]?.sizeBytes;
    if (own === sizeBytes) continue;
    const told = own === undefined ? "which the VM has not got" : `which has ${own} bytes here`;
    throw new StillpointError("CHECKPOINT_MISFIT", `the checkpoint holds disk ${disk} of ${sizeBytes} bytes, ${told}`);
  }
}

function placesOf(workload: Workload, checkpointUid: string): ReceivePlaces {
  const { folder } = workload;
  return {
    layer: (disk, layer) => folder.layer(disk, layer),
    checkpoint: unfinishedFolder(workload, checkpointUid),
    boot: folder.boot,
  };
}

interface Filled {
  readonly checkpointUid: string;
  readonly operation: string;
  readonly plan: ReceivePlan;
}

/** As a checkpoint that is taken: its folder appears whole, then the manifest names it. */
async function commit(parts: AgentParts, workload: Workload, filled: Filled): Promise<CheckpointOutcome> {
  const { checkpointUid, plan } = filled;
  const unfinished = unfinishedFolder(workload, checkpointUid);
  for (const [layer, { disk }] of Object.entries(plan.layers)) {
    await parts.disks.seal(workload.folder.layer(disk, layer));
  }
  const ramBytes = plan.kind === "standard" ? (await stat(join(unfinished, RAM_FILE))).size : 0;
  const outcome = await describe(parts, workload, plan, ramBytes);
  const { kind, machine, tops } = plan;
  const manifest = { version: 1, uid: checkpointUid, kind, machine, layers: tops, ramBytes };
  await writeDurably(join(unfinished, "manifest.json"), JSON.stringify(manifest, null, 1));
  await writeDurably(join(unfinished, OUTCOME_FILE), JSON.stringify(CheckpointOutcome.toJSON(outcome), null, 1));
  const finished = workload.folder.checkpoint(checkpointUid);
  await rm(finished, { recursive: true, force: true });
  await rename(unfinished, finished);
  await syncFolder(workload.folder.checkpoints);
  await workload.save((current) => withReceived(current, filled));
  if (!(await hasDigests(workload, checkpointUid))) queueDigests(parts, workload, checkpointUid);
  queueMerges(parts, workload);
  return outcome;
}

async function describe(
  { disks }: AgentParts,
  { folder }: Workload,
  { layers }: ReceivePlan,
  ramBytes: number,
): Promise<CheckpointOutcome> {
  const sizes = Object.entries(layers).map(([layer, { disk }]) => disks.usedBytes(folder.layer(disk, layer)));
  const sizeBytes = (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, ramBytes);
  return { refusedReason: "", refusedDetail: "", evidence: undefined, sizeBytes };
}

/**
 * A VM that has never been anything else becomes a machine of the make that the checkpoint was taken on. What it boots
 * stays as it is.
 */
function withReceived(manifest: Manifest, { checkpointUid, operation, plan }: Filled): Manifest {
  const { kind, machine, paused, tops, layers, boot } = plan;
  const entry = { kind, parent: null, layers: tops, machine, paused, operation };
  const isNew = Object.keys(manifest.checkpoints).length === 0 && manifest.power === "off";
  return {
    ...manifest,
    ...(isNew && { machineType: machine.machineType }),
    ...(boot !== undefined && manifest.boot === undefined && { boot }),
    layers: { ...manifest.layers, ...layers },
    checkpoints: { ...manifest.checkpoints, [checkpointUid]: entry },
    receiving: null,
  };
}
