import { mkdir } from "node:fs/promises";
import type { Clock } from "#libs/clock";
import { failpoint } from "#libs/failpoints";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { copyTree, dropChanged, writeBack } from "./files.ts";
import { saveTree, treeOf } from "./tree.ts";
import type { LeftOut, TakenVolume } from "./volumes.ts";

/** What was made ready for a take. */
export interface Prepared {
  readonly volumes: readonly TakenVolume[];
  readonly leftOut: readonly LeftOut[];
  /** When the last copy that was made while it ran was begun; milliseconds since 1970. */
  readonly since: number;
}

/** Writes down that a take begins, before anything of it is made. */
export async function beginTake(container: Container, { operation }: StepContext, checkpoint: string): Promise<void> {
  await saveTree(container, (tree) => ({ ...tree, pending: { checkpoint, operation, isPaused: false } }));
}

/** Twice: what is left to be copied while it stands still is what changed during the second, short pass. */
export async function copyWhileItRuns(
  { clock }: ContainerParts,
  container: Container,
  { taken, leftOut }: { readonly taken: readonly TakenVolume[]; readonly leftOut: readonly LeftOut[] },
  { signal }: StepContext,
): Promise<Prepared> {
  const first = clock.now().getTime();
  for (const volume of taken) {
    await writeBack(volume.files, signal);
    await copyFirst(container, volume, signal);
  }
  await failpoint("agent.container-checkpoint.copied");
  return await copyAgain(clock, { volumes: taken, leftOut, since: first }, signal);
}

/** What has changed since the copies were begun. */
export async function copyAgain(clock: Clock, { volumes, leftOut, since }: Prepared, signal: AbortSignal) {
  const begun = clock.now().getTime();
  for (const { files, copy } of volumes) {
    await writeBack(files, signal);
    await dropChanged(files, copy, since, signal);
    await copyTree(files, copy, { isLive: true, signal });
  }
  return { volumes, leftOut, since: begun };
}

/** What is the same as in the checkpoint below becomes a link to its copy. */
export async function copyFirst(container: Container, volume: TakenVolume, signal: AbortSignal): Promise<void> {
  const { files, copy, basis } = volume;
  await mkdir(copy, { recursive: true, mode: 0o700 });
  await copyTree(files, copy, { isLive: true, linkTo: basis, signal });
  const since = treeOf(container).head?.since;
  if (basis === undefined || since === undefined) return;
  await dropChanged(files, copy, since, signal);
  await copyTree(files, copy, { isLive: true, signal });
}
