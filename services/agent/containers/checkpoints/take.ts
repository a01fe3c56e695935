import type {
  CheckpointOutcome,
  HoldFrozen,
  PrepareHeld,
  TakeHeld,
  TakeProduction,
  TakeStandard,
  ThawHeld,
} from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { adviceFor } from "#libs/readiness";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { refused, storedOutcome } from "./commit-take.ts";
import { finish, INTERRUPTED } from "./finish-take.ts";
import { heldTakes } from "./held.ts";
import { hold, makeReady } from "./hold.ts";
import { PausedTake } from "./paused-take.ts";
import { rollBack } from "./roll-back.ts";
import { treeOf } from "./tree.ts";

/** Writing memory takes longer than copying what has changed. */
const MEMORY_WINDOW_MS = 60_000;

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

/**
 * Memory, volumes and writable layer of one instant: all its processes stand still while the engine writes them down.
 * @throws StillpointError STANDARD_FAILED
 */
export async function takeStandard(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  { checkpointUid }: TakeStandard,
): Promise<CheckpointOutcome> {
  if (!parts.facts().canCheckpoint) {
    throw standardFailed(container, "criu.absent", "its host has no CRIU, or its engine does not use it");
  }
  const request = { checkpointUid, freezeWindowMs: MEMORY_WINDOW_MS, excludeDisks: [], withMemory: true };
  const held = await hold(parts, context, container, request);
  if (held instanceof PausedTake) await held.take();
  const outcome = held instanceof PausedTake ? await finish(parts, context, container, true) : held;
  if (outcome.refusedReason === "") return outcome;
  throw standardFailed(container, outcome.refusedReason, outcome.refusedDetail);
}

function standardFailed({ name }: Container, reason: string, detail: string): StillpointError {
  return new StillpointError("STANDARD_FAILED", `the memory of ${name} could not be saved (${reason}: ${detail})`, {
    ...{ metadata: { reason }, help: adviceFor(reason) },
  });
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
