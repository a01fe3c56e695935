import type {
  CheckpointOutcome,
  HoldFrozen,
  PrepareHeld,
  TakeHeld,
  TakeProduction,
  ThawHeld,
} from "#contracts/host/v1/agent";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { commitTake, refused, storedOutcome } from "./commit-take.ts";
import { beginTake, copyAgain, copyWhileItRuns } from "./copy-volumes.ts";
import { type Held, heldTakes } from "./held.ts";
import { type Paused, PausedTake } from "./paused-take.ts";
import { rollBack } from "./roll-back.ts";
import { spaceShortage } from "./space.ts";
import { treeOf } from "./tree.ts";
import { sortVolumes } from "./volumes.ts";

const DEFAULT_WINDOW_MS = 10_000;

/**
 * Volumes are copied while it runs; then its application is brought to rest, all its processes are paused, what has
 * changed is copied, and its writable layer becomes an image. What cannot be reached is an answer with a reason, and
 * leaves nothing behind.
 */
export async function takeProduction(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: TakeProduction,
): Promise<CheckpointOutcome> {
  const held = await hold(parts, context, container, request);
  if (!(held instanceof PausedTake)) return held;
  await held.take();
  return await finish(parts, context, container, true);
}

/** What of it can be done while the container runs, before the first of several workloads stands still. */
export async function prepareHeld(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: PrepareHeld,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(container, request.checkpointUid);
  if (stored !== undefined) return stored;
  const ready = await makeReady(parts, context, container, request);
  return "refusedReason" in ready ? ready : NOTHING_REFUSED;
}

/** The first third of it, for several workloads at one instant: the container stands still when it answers. */
export async function holdFrozen(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: HoldFrozen,
): Promise<CheckpointOutcome> {
  const held = await hold(parts, context, container, request);
  return held instanceof PausedTake ? NOTHING_REFUSED : held;
}

/** The second third: its files, while it stands still. */
export async function takeHeld(container: Container, { checkpointUid }: TakeHeld): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(container, checkpointUid);
  if (stored !== undefined) return stored;
  const held = heldTakes.get(container);
  if (held?.checkpointUid !== checkpointUid || held.take === undefined) return refused(...INTERRUPTED);
  const refusal = held.take.image === undefined ? await held.take.take() : undefined;
  return refusal === undefined ? NOTHING_REFUSED : refused(refusal.reason, refusal.detail);
}

/** The last third: it goes on, and what was taken becomes a checkpoint if that is wanted and proven. */
export async function thawHeld(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  { checkpointUid, commit }: ThawHeld,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(container, checkpointUid);
  if (stored !== undefined) return stored;
  if (heldTakes.get(container)?.checkpointUid === checkpointUid) return await finish(parts, context, container, commit);
  if (treeOf(container).pending?.checkpoint === checkpointUid) await rollBack(parts, container);
  return refused(...INTERRUPTED);
}

const NOTHING_REFUSED: CheckpointOutcome = { refusedReason: "", refusedDetail: "", evidence: {}, sizeBytes: 0 };

const INTERRUPTED = [
  "pause.interrupted",
  "the host's agent ended while the container stood still; it was let go on",
] as const;

const NOT_WANTED = { reason: "group.member_failed", detail: "another member of the group could not be taken this way" };

/** Ready, at rest and standing still. A refusal leaves nothing behind. */
async function hold(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: TakeProduction,
): Promise<PausedTake | CheckpointOutcome> {
  const { checkpointUid, freezeWindowMs } = request;
  const stored = await storedOutcome(container, checkpointUid);
  if (stored !== undefined) return stored;
  const before = heldTakes.get(container);
  const isReady = before?.checkpointUid === checkpointUid && before.take === undefined;
  const ready = isReady ? before : await makeReady(parts, context, container, request);
  if ("refusedReason" in ready) return ready;
  try {
    const prepared = isReady ? await copyAgain(parts.clock, ready.prepared, context.signal) : ready.prepared;
    const { volumes, since } = prepared;
    const windowMs = freezeWindowMs === 0 ? DEFAULT_WINDOW_MS : freezeWindowMs;
    const unfit = await refuseToPause(parts, container);
    const take = unfit ?? (await PausedTake.begin(parts, container, { checkpointUid, windowMs, volumes, since }));
    if (take instanceof PausedTake) {
      heldTakes.set(container, { checkpointUid, take, prepared });
      return take;
    }
    await rollBack(parts, container);
    return "refusedReason" in take ? take : refused(take.reason, take.detail);
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  }
}

/** Copies its volumes while it runs. */
async function makeReady(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  { checkpointUid, excludeDisks }: PrepareHeld,
): Promise<Held | CheckpointOutcome> {
  await rollBack(parts, container);
  const unfit = await refuseToPause(parts, container);
  if (unfit !== undefined) return unfit;
  const sorted = await sortVolumes(parts, container, { checkpointUid, excluded: excludeDisks });
  const shortage = await spaceShortage(container, sorted.taken, context.signal);
  if (shortage !== undefined) return refused("space.insufficient", shortage);
  await beginTake(container, context, checkpointUid);
  try {
    const prepared = await copyWhileItRuns(parts, container, sorted, context);
    const held = { checkpointUid, prepared, take: undefined };
    heldTakes.set(container, held);
    return held;
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  }
}

/** Lets it go on, and keeps what was taken when that is wanted and nothing speaks against it. */
async function finish(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  commit: boolean,
): Promise<CheckpointOutcome> {
  const held = heldTakes.get(container);
  if (held === undefined) return refused(...INTERRUPTED);
  const { take, prepared } = held;
  if (take === undefined) {
    await rollBack(parts, container);
    return refused(NOT_WANTED.reason, NOT_WANTED.detail);
  }
  const paused = await take.end();
  const evidence = evidenceOf(paused, container);
  const { image, checkpointUid } = take;
  const refusal = paused.refusal ?? (commit && image !== undefined ? undefined : NOT_WANTED);
  if (refusal !== undefined || image === undefined) {
    await rollBack(parts, container);
    const { reason, detail } = refusal ?? NOT_WANTED;
    return refused(reason, detail, evidence);
  }
  try {
    return await commitTake(parts, context, container, {
      ...prepared,
      checkpointUid,
      kind: "production",
      image,
      evidence,
    });
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  } finally {
    heldTakes.delete(container);
  }
}

function evidenceOf({ pauseMs, windowMs, quiesce, timeline }: Paused, { definition }: Container) {
  const program = definition.spec?.quiesceCommand[0] ?? "";
  return { pauseMs, pause: { pauseMs, windowMs, quiesce: quiesce ? { program, ...quiesce } : null }, timeline };
}

async function refuseToPause({ engine }: ContainerParts, { uid, name }: Container) {
  const state = (await engine.find(uid))?.state;
  if (state === "running") return undefined;
  if (state === "paused") return refused("container.paused", `${name} stands still already, and not by us`);
  if (state === "restarting") return refused("container.restarting", `${name} is between two lives`);
  return refused("container.off", `${name} does not run: its files are at rest`);
}
