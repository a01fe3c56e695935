import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ContainerSpec } from "#contracts/container/v1/container";
import { CheckpointOutcome } from "#contracts/host/v1/agent";
import { failpoint } from "#libs/failpoints";
import { syncFolder, writeDurably } from "../../durable-file.ts";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import type { Prepared } from "./copy-volumes.ts";
import { ownBytes, writeBack } from "./files.ts";
import { saveTree, treeOf, withTaken } from "./tree.ts";
import type { ContainerCheckpoint } from "./tree-shape.ts";
import { queueDigests } from "./volume-digests.ts";
import { checkpointFolder, unfinishedFolder } from "./volumes.ts";

const OUTCOME_FILE = "outcome.json";

export interface Taken extends Prepared {
  readonly checkpointUid: string;
  readonly kind: ContainerCheckpoint["kind"];
  /** Its writable layer over its image, as the engine knows it. */
  readonly image: string;
  readonly evidence: Readonly<Record<string, unknown>>;
}

/** Makes a checkpoint of what was copied: its folder appears whole, then the container's manifest names it. */
export async function commitTake(
  parts: ContainerParts,
  { operation, signal }: StepContext,
  container: Container,
  taken: Taken,
): Promise<CheckpointOutcome> {
  const { checkpointUid, kind, image, since, volumes } = taken;
  const parent = treeOf(container).head?.checkpoint ?? null;
  const ids = volumes.map(({ id }) => id);
  await mkdir(unfinishedFolder(container, checkpointUid), { recursive: true, mode: 0o700 });
  const rootBytes = await writableBytes(parts, container, image);
  const checkpoint: ContainerCheckpoint = { kind, parent, image, volumes: ids, since, rootBytes, operation };
  const outcome = await describe(parts, taken, rootBytes, signal);
  await sealCheckpoint(container, { checkpointUid, checkpoint, outcome, signal });
  await failpoint("agent.container-checkpoint.written");
  await saveTree(container, (tree) => withTaken(tree, checkpointUid, checkpoint));
  queueDigests(parts, container, checkpointUid);
  return outcome;
}

interface ToSeal {
  readonly checkpointUid: string;
  readonly checkpoint: ContainerCheckpoint;
  readonly outcome: CheckpointOutcome;
  readonly signal: AbortSignal;
}

/** The folder of a checkpoint appears, whole and durable; the container's manifest is to name it next. */
export async function sealCheckpoint(container: Container, to: ToSeal): Promise<void> {
  const { checkpointUid, checkpoint, outcome, signal } = to;
  const unfinished = unfinishedFolder(container, checkpointUid);
  await writeBack(unfinished, signal);
  await writeDurably(join(unfinished, OUTCOME_FILE), JSON.stringify(CheckpointOutcome.toJSON(outcome), null, 1));
  const spec = ContainerSpec.toJSON(container.definition.spec ?? ContainerSpec.fromPartial({}));
  const manifest = { version: 1, uid: checkpointUid, ...checkpoint, spec };
  await writeDurably(join(unfinished, "manifest.json"), JSON.stringify(manifest, null, 1));
  const finished = checkpointFolder(container, checkpointUid);
  await rm(finished, { recursive: true, force: true });
  await rename(unfinished, finished);
  await syncFolder(container.folder.checkpoints);
}

/** The answer of a take that was finished before, for one that asks again. */
export async function storedOutcome(
  container: Container,
  checkpointUid: string,
): Promise<CheckpointOutcome | undefined> {
  if (treeOf(container).checkpoints[checkpointUid] === undefined) return undefined;
  const text = await readFile(join(checkpointFolder(container, checkpointUid), OUTCOME_FILE), "utf8");
  return CheckpointOutcome.fromJSON(JSON.parse(text));
}

/** A checkpoint that was not reached; nothing of it is left. */
export function refused(reason: string, detail: string, evidence: Record<string, unknown> = {}): CheckpointOutcome {
  return { refusedReason: reason, refusedDetail: detail, evidence, sizeBytes: 0 };
}

async function writableBytes({ images, engine }: ContainerParts, { manifest }: Container, image: string) {
  const [over, under] = [await engine.images.find(image), await images.find(manifest.image)];
  return Math.max(0, (over?.sizeBytes ?? 0) - (under?.sizeBytes ?? 0));
}

async function describe(
  parts: ContainerParts,
  { image, volumes, leftOut, evidence }: Taken,
  rootBytes: number,
  signal: AbortSignal,
): Promise<CheckpointOutcome> {
  const disks = [{ id: "root", included: true, why: "", bytes: rootBytes, layer: image, digest: image }];
  for (const { id, copy, basis } of volumes) {
    const bytes = await ownBytes(copy, basis, signal);
    disks.push({ id, included: true, why: "", bytes, layer: "", digest: "pending" });
  }
  const without = leftOut.map(({ id, why }) => ({ id, included: false, why, bytes: 0 }));
  const { version, architecture } = parts.facts();
  return {
    ...{ refusedReason: "", refusedDetail: "" },
    evidence: { ...evidence, disks: [...disks, ...without], machine: { engine: version, architecture } },
    sizeBytes: disks.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
