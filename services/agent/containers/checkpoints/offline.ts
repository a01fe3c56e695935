import type { CheckpointOutcome, TakeOffline } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { commitTake, storedOutcome } from "./commit-take.ts";
import { beginTake, copyFirst } from "./copy-volumes.ts";
import { imageRepository } from "./paused-take.ts";
import { rollBack } from "./roll-back.ts";
import { spaceShortage } from "./space.ts";
import { sortVolumes } from "./volumes.ts";

/** A container that does not run: its files are at rest. */
export async function takeOffline(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  { checkpointUid, excludeDisks }: TakeOffline,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(container, checkpointUid);
  if (stored !== undefined) return stored;
  const { engine, clock } = parts;
  await refuseAlive(parts, container);
  const sorted = await sortVolumes(parts, container, { checkpointUid, excluded: excludeDisks });
  const shortage = await spaceShortage(container, sorted.taken, context.signal);
  if (shortage !== undefined) {
    throw new StillpointError("SPACE_INSUFFICIENT", shortage, { metadata: { reason: "space.insufficient" } });
  }
  await rollBack(parts, container);
  await beginTake(container, context, checkpointUid);
  try {
    const since = clock.now().getTime();
    for (const volume of sorted.taken) await copyFirst(container, volume, context.signal);
    const image = await engine.commit(container.uid, {
      repository: imageRepository(container.uid),
      tag: checkpointUid,
    });
    await refuseAlive(parts, container);
    const evidence = { timeline: [{ event: "taken", time: clock.now().toISOString() }] };
    const prepared = { volumes: sorted.taken, leftOut: sorted.leftOut, since };
    return await commitTake(parts, context, container, {
      ...prepared,
      checkpointUid,
      kind: "offline",
      image,
      evidence,
    });
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  }
}

async function refuseAlive({ engine }: ContainerParts, { uid, name }: Container): Promise<void> {
  const state = (await engine.find(uid))?.state;
  if (state === "created" || state === "exited") return;
  throw new StillpointError("CONTAINER_STATE", `${name} is ${state ?? "gone"}; an offline checkpoint needs it stopped`);
}
