import type { CheckpointOutcome } from "#contracts/host/v1/agent";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { digestOfFiles } from "./archive.ts";
import { commitTake, refused, type Taken } from "./commit-take.ts";
import { isThere, ownBytes } from "./files.ts";
import { heldTakes } from "./held.ts";
import type { Paused } from "./paused-take.ts";
import { rollBack } from "./roll-back.ts";

export const INTERRUPTED = [
  "pause.interrupted",
  "the host's agent ended while the container stood still; it was let go on",
] as const;

const NOT_WANTED = { reason: "group.member_failed", detail: "another member of the group could not be taken this way" };

/** Lets it go on, and keeps what was taken when that is wanted and nothing speaks against it. */
export async function finish(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  commit: boolean,
): Promise<CheckpointOutcome> {
  const held = heldTakes.get(container);
  if (held === undefined) return refused(...INTERRUPTED);
  const { take, prepared, checkpointUid } = held;
  const paused = await take?.end();
  const evidence = paused && (await evidenceOf(paused, take?.memory, container, context));
  const image = commit ? take?.image : undefined;
  if (paused?.refusal !== undefined || image === undefined || evidence === undefined) {
    await rollBack(parts, container);
    const { reason, detail } = paused?.refusal ?? NOT_WANTED;
    return refused(reason, detail, evidence);
  }
  const kind = take?.memory === undefined ? "production" : "standard";
  return await keep(parts, context, container, { ...prepared, checkpointUid, kind, image, evidence });
}

async function keep(parts: ContainerParts, context: StepContext, container: Container, taken: Taken) {
  try {
    return await commitTake(parts, context, container, taken);
  } catch (error) {
    await rollBack(parts, container);
    throw error;
  } finally {
    heldTakes.delete(container);
  }
}

async function evidenceOf(
  { pauseMs, windowMs, quiesce, timeline }: Paused,
  memory: string | undefined,
  { definition }: Container,
  { signal }: StepContext,
) {
  if (memory === undefined) {
    const program = definition.spec?.quiesceCommand[0] ?? "";
    return { pauseMs, pause: { pauseMs, windowMs, quiesce: quiesce ? { program, ...quiesce } : null }, timeline };
  }
  if (!(await isThere(memory))) return { pauseMs, timeline };
  const ram = { bytes: await ownBytes(memory, undefined, signal), digest: await digestOfFiles(memory, signal) };
  return { pauseMs, timeline, ram };
}
