import type { CheckpointOutcome, StepResult } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { StepAction, StepContext } from "../steps/step-runner.ts";
import { finishApply } from "./checkpoints/apply.ts";
import { isCheckpointAction, performOnCheckpoints } from "./checkpoints/perform.ts";
import { pushToRegistry } from "./checkpoints/push.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { createContainer } from "./create.ts";
import { inItsName } from "./in-its-name.ts";
import { deleteContainer, killContainer, startContainer, stopContainer, updateContainer } from "./power.ts";

/** Carries out one action on a container; each can be repeated after it was cut off anywhere. */
export async function performOnContainer(
  parts: ContainerParts,
  context: StepContext,
  action: StepAction,
): Promise<StepResult> {
  parts.requireEngine();
  try {
    return await perform(parts, context, action);
  } catch (error) {
    const made = action.$case === "createContainer" ? action.value.definition : undefined;
    throw inItsName(error, context.uid, parts.containers.find(context.uid)?.name ?? made?.name ?? context.uid);
  }
}

async function perform(parts: ContainerParts, context: StepContext, action: StepAction): Promise<StepResult> {
  if (action.$case === "createContainer") {
    const { definition, start } = action.value;
    if (definition === undefined) throw new StillpointError("ARGUMENT_INVALID", "the definition is missing");
    const made = await createContainer(parts, context, definition);
    await failpoint("agent.create-container.made");
    if (start) await startNew(parts, made);
    return answer(context, made);
  }
  if (action.$case === "deleteContainer") {
    await deleteContainer(parts, context.uid);
    return { workload: undefined, checkpoint: undefined };
  }
  if (action.$case === "pushCheckpoint") return await pushToRegistry(parts, context, action.value);
  const container = parts.containers.get(context.uid);
  container.isActedOn = true;
  try {
    return answer(context, container, await act(parts, context, container, action));
  } finally {
    container.isActedOn = false;
    parts.storage.changed(container);
  }
}

/** That it runs is told by the answer of the step alone: the operation that makes it waits for that. */
async function startNew(parts: ContainerParts, container: Container): Promise<void> {
  container.isBeingMade = true;
  try {
    await startContainer(parts, container);
  } finally {
    container.isBeingMade = false;
  }
}

async function act(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  action: StepAction,
): Promise<CheckpointOutcome | undefined> {
  await finishApply(parts, container); // one that was cut off
  if (isCheckpointAction(action)) return await performOnCheckpoints(parts, context, container, action);
  if (!isPower(action)) throw new StillpointError("CAPABILITY_MISSING", `${action.$case} is not for containers`);
  await changePower(parts, container, action);
  return undefined;
}

function isPower(action: StepAction): action is PowerAction {
  return ["startContainer", "stopContainer", "killContainer", "updateContainer"].includes(action.$case);
}

type PowerAction = Extract<
  StepAction,
  { readonly $case: "startContainer" | "stopContainer" | "killContainer" | "updateContainer" }
>;

async function changePower(parts: ContainerParts, container: Container, action: PowerAction): Promise<void> {
  switch (action.$case) {
    case "startContainer":
      return await startContainer(parts, container);
    case "stopContainer":
      return await stopContainer(parts, container, action.value.timeoutSeconds);
    case "killContainer":
      return await killContainer(parts, container, action.value.signal || "SIGKILL");
    case "updateContainer":
      return await updateContainer(parts, container, action.value);
  }
}

function answer({ epoch }: StepContext, container: Container, checkpoint?: CheckpointOutcome): StepResult {
  return { workload: container.describe(epoch), checkpoint };
}
