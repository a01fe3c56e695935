import type { CheckpointOutcome } from "#contracts/host/v1/agent";
import type { StepAction, StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { applyCheckpoint, checkApply } from "./apply.ts";
import { takeOffline } from "./offline.ts";
import { receiveCheckpoint } from "./receive.ts";
import { discardCheckpoint, removeCheckpoints } from "./remove.ts";
import { holdFrozen, prepareHeld, takeHeld, takeProduction, takeStandard, thawHeld } from "./take.ts";
import { checkpointOf } from "./tree.ts";

const NAMES = [
  ...(["takeProduction", "takeStandard", "takeOffline", "verifyCheckpoint", "discardCheckpoint"] as const),
  ...([
    "applyCheckpoint",
    "checkApply",
    "receiveCheckpoint",
    "removeCheckpoints",
    "prepareHeld",
    "holdFrozen",
    "takeHeld",
    "thawHeld",
  ] as const),
];

export type CheckpointAction = Extract<StepAction, { readonly $case: (typeof NAMES)[number] }>;

export function isCheckpointAction(action: StepAction): action is CheckpointAction {
  return NAMES.some((name) => name === action.$case);
}

/** Carries out one action on a container's checkpoints; each can be repeated after it was cut off anywhere. */
export async function performOnCheckpoints(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  action: CheckpointAction,
): Promise<CheckpointOutcome | undefined> {
  switch (action.$case) {
    case "takeProduction":
      return await takeProduction(parts, context, container, action.value);
    case "takeOffline":
      return await takeOffline(parts, context, container, action.value);
    case "prepareHeld":
      return await prepareHeld(parts, context, container, action.value);
    case "holdFrozen":
      return await holdFrozen(parts, context, container, action.value);
    case "takeHeld":
      return await takeHeld(container, action.value);
    case "thawHeld":
      return await thawHeld(parts, context, container, action.value);
    case "takeStandard":
      return await takeStandard(parts, context, container, action.value);
    case "verifyCheckpoint":
      return verifyCheckpoint(container, action.value.checkpointUid);
    case "checkApply":
      await checkApply(parts, container, action.value, context.signal);
      return undefined;
    case "applyCheckpoint":
      await applyCheckpoint(parts, context, container, action.value);
      return undefined;
    case "receiveCheckpoint":
      return await receiveCheckpoint(parts, context, container, action.value);
    case "discardCheckpoint":
      await discardCheckpoint(parts, container, action.value);
      return undefined;
    case "removeCheckpoints":
      await removeCheckpoints(parts, container, action.value);
      return undefined;
  }
}

/** Its file systems were never stopped half-way: what was copied while all stood still has no journal to replay. */
function verifyCheckpoint(container: Container, checkpointUid: string): CheckpointOutcome {
  checkpointOf(container, checkpointUid);
  const verification = { method: "none", result: "unknown", fileSystems: 0 };
  return { refusedReason: "", refusedDetail: "", evidence: { verification }, sizeBytes: 0 };
}
