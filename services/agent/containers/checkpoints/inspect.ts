import { CheckpointReadiness, Finding, type Mount } from "#contracts/vm/v1/vm";
import { judgeReadiness } from "#libs/readiness";
import type { SeenState } from "../../container-engine.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { spaceFor } from "./space.ts";
import { sortVolumes } from "./volumes.ts";

/**
 * Looks at a container and its host, and judges as if its policy were production. Only reads: whether the quiesce
 * command works, only a checkpoint tells.
 */
export async function inspectContainer(
  parts: ContainerParts,
  container: Container,
  signal: AbortSignal,
): Promise<CheckpointReadiness> {
  const { definition } = container;
  const { version, canCheckpoint } = parts.facts();
  const state = (await parts.engine.find(container.uid))?.state;
  const { taken, leftOut } = await sortVolumes(parts, container, { checkpointUid: "", excluded: [] });
  const space = await spaceFor(container, taken, signal);
  const quiesce = definition.spec?.quiesceCommand[0];
  const readiness = CheckpointReadiness.fromPartial({
    engine: `docker ${version}`,
    freezeEnabled: true,
    hooksEnabled: quiesce !== undefined,
    writers: quiesce === undefined ? [] : [{ name: quiesce, state: "ready" }],
    mounts: [...taken.map(({ id }) => mount(id, "")), ...leftOut.map(({ id, why }) => mount(id, why))],
    freeBytes: space.freeBytes,
    findings: [
      ...stateFindings(state),
      ...(state === "running" && quiesce === undefined ? [quiesceAbsent] : []),
      ...(canCheckpoint ? [] : [criuAbsent]),
      ...leftOut.map(({ id, why }) => finding("volume.left_out", `${id} is left out: ${why}`)),
      ...spaceFindings(space),
    ],
    time: parts.clock.now(),
  });
  return judgeReadiness(readiness, undefined);
}

const mount = (path: string, why: string): Mount => ({ path, type: "volume", freezable: why === "", why });

const finding = (code: string, message: string): Finding => Finding.fromPartial({ code, message });

const quiesceAbsent = finding("quiesce.absent", "nothing brings its application to rest: it has no quiesce command");
const criuAbsent = finding(
  "criu.absent",
  "its memory cannot be saved: its host has no CRIU, or its engine does not use it",
);

function stateFindings(state: SeenState | undefined): Finding[] {
  if (state === "running") return [];
  if (state === "paused") return [finding("container.paused", "it stands still, and not for a checkpoint")];
  if (state === "restarting") return [finding("container.restarting", "it is between two lives")];
  return [finding("container.off", "it does not run: its files are at rest")];
}

function spaceFindings({ neededBytes, freeBytes }: { readonly neededBytes: number; readonly freeBytes: number }) {
  if (freeBytes >= neededBytes) return [];
  return [finding("space.insufficient", `${freeBytes} bytes are free; ${neededBytes} may be needed`)];
}
