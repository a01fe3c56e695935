import type { CheckpointOutcome, HoldFrozen, PrepareHeld } from "#contracts/host/v1/agent";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { refused, storedOutcome } from "./commit-take.ts";
import { beginTake, copyAgain, copyWhileItRuns } from "./copy-volumes.ts";
import { type Held, heldTakes } from "./held.ts";
import { PausedTake } from "./paused-take.ts";
import { rollBack } from "./roll-back.ts";
import { spaceShortage } from "./space.ts";
import { memoryIn, sortVolumes, unfinishedFolder } from "./volumes.ts";

const DEFAULT_WINDOW_MS = 10_000;

export interface HoldRequest extends Pick<HoldFrozen, "checkpointUid" | "freezeWindowMs" | "excludeDisks"> {
  readonly withMemory?: boolean;
}

/** Ready, at rest and standing still. A refusal leaves nothing behind. */
export async function hold(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: HoldRequest,
): Promise<PausedTake | CheckpointOutcome> {
  const stored = await storedOutcome(container, request.checkpointUid);
  if (stored !== undefined) return stored;
  const before = heldTakes.get(container);
  const isReady = before?.checkpointUid === request.checkpointUid && before.take === undefined;
  const ready = isReady ? before : await makeReady(parts, context, container, request);
  if ("refusedReason" in ready) return ready;
  try {
    const prepared = isReady ? await copyAgain(parts.clock, ready.prepared, context.signal) : ready.prepared;
    const take = await standStill(parts, container, { ...ready, prepared }, request);
    if (!(take instanceof PausedTake)) await rollBack(parts, container);
    return take;
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  }
}

async function standStill(
  parts: ContainerParts,
  container: Container,
  { checkpointUid, prepared }: Held,
  { freezeWindowMs, withMemory = false }: HoldRequest,
): Promise<PausedTake | CheckpointOutcome> {
  const unfit = await refuseToPause(parts, container);
  if (unfit !== undefined) return unfit;
  const windowMs = freezeWindowMs === 0 ? DEFAULT_WINDOW_MS : freezeWindowMs;
  const { volumes, since } = prepared;
  const memory = withMemory ? { memory: memoryIn(unfinishedFolder(container, checkpointUid)) } : {};
  const take = await PausedTake.begin(parts, container, { checkpointUid, windowMs, volumes, since, ...memory });
  if (!(take instanceof PausedTake)) return refused(take.reason, take.detail);
  heldTakes.set(container, { checkpointUid, take, prepared });
  return take;
}

/** Copies its volumes while it runs. */
export async function makeReady(
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

async function refuseToPause({ engine }: ContainerParts, { uid, name }: Container) {
  const state = (await engine.find(uid))?.state;
  if (state === "running") return undefined;
  if (state === "paused") return refused("container.paused", `${name} stands still already, and not by us`);
  if (state === "restarting") return refused("container.restarting", `${name} is between two lives`);
  return refused("container.off", `${name} does not run: its files are at rest`);
}
