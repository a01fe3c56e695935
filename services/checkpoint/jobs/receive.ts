import { Checkpoint, CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import { checkpointName } from "#libs/names";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { Json, RecordEvent } from "#libs/records";
import { withOrigin } from "../domain/origin.ts";
import { deletedEvent } from "../records/checkpoint-store.ts";
import { sha256 } from "../records/digest.ts";
import { isContainerName } from "../records/workload-record.ts";
import { releaseTarget } from "./held-target.ts";
import { freeNewVm, type NewVmDeps, newVmSteps } from "./new-vm-steps.ts";
import { originOf, type ReceivingInput, receiverOf } from "./receive-state.ts";

export interface ReceiveInput extends ReceivingInput {
  /** ProtoJSON of what is known of the checkpoint where it comes from: its names, kind, consistency and receipt. */
  readonly checkpoint: Json;
}

type Context = JobContext<ReceiveInput>;

/** Brings a checkpoint into a VM or container: one that is made from it, or one that exists, as a root of its tree. */
export function receiveJob(deps: NewVmDeps): Job<ReceiveInput> {
  const { create, hold, receive, apply, start } = newVmSteps(deps);
  return {
    kind: "checkpoint.receive",
    steps: [create, hold, withdrawable(deps, receive), publishStep(deps), apply, moveHeadStep(deps), start],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** In a VM that exists, what was received is taken back; a new VM goes with all it has. */
function withdrawable({ agents }: NewVmDeps, receive: Step<ReceivingInput>): Step<ReceiveInput> {
  return {
    ...receive,
    async undo(context) {
      const { workload, checkpointUid } = context.input;
      if (workload === undefined) return;
      const action = { $case: "discardCheckpoint", value: { checkpointUid } } as const;
      await agents.runStep(context, workload, "undo-receive", action);
    },
  };
}

/** Makes the checkpoint visible, with the receipt that it came with. */
function publishStep({ store, clock }: NewVmDeps): Step<ReceiveInput> {
  return {
    name: "publish",
    async run(context) {
      const name = nameOf(context);
      if ((await store.records.get(name)) !== undefined) return { checkpoint: name };
      const body = checkpointOf(context, name, clock.now());
      await store.records.create(name, { uid: body.uid, body, events: [receivedEvent(context, body)] });
      return { checkpoint: name };
    },
    async undo(context) {
      if (context.outputs["create-vm"] === undefined && context.input.workload === undefined) return;
      const stored = await store.records.get(nameOf(context));
      if (stored === undefined) return;
      await store.records.remove(stored, [deletedEvent(stored, receiverOf(context).name, "its receipt was undone")]);
    },
  };
}

/** The new VM goes on from the checkpoint. The head of one that exists stays where it is. */
function moveHeadStep({ store }: NewVmDeps): Step<ReceiveInput> {
  return {
    name: "move-head",
    skip: ({ input }) => input.newVm === undefined,
    async run(context) {
      const { checkpointUid, generationId } = context.input;
      await store.moveHead(receiverOf(context), { parent: checkpointUid, generationId });
      return undefined;
    },
    async undo(context) {
      if (context.outputs["create-vm"] !== undefined) await store.forget(receiverOf(context));
    },
  };
}

const nameOf = (context: Context) => checkpointName(receiverOf(context).name, context.input.checkpointUid);

function checkpointOf(context: Context, name: string, now: Date): Checkpoint {
  const { checkpointUid, source } = context.input;
  const { uid, host } = receiverOf(context);
  const known = Checkpoint.fromJSON(context.input.checkpoint);
  const sizeBytes = Number(context.outputs.receive?.sizeBytes ?? 0);
  const origin = originOf(source);
  return {
    ...known,
    ...{ name, uid: checkpointUid, workloadUid: uid, parent: "", host, sizeBytes, cumulativeBytes: sizeBytes, origin },
    state: CheckpointState.READY,
    receipt: withOrigin(known.receipt ?? {}, { origin, receivedTime: now, name }, sha256),
    updateTime: now,
  };
}

function receivedEvent(context: Context, { name, displayName, consistency, kind, sizeBytes }: Checkpoint): RecordEvent {
  const { source } = context.input;
  const facts = { name, workload: receiverOf(context).name, origin: originOf(source), displayName, kind, consistency };
  const how = source.kind === "clone" ? { fullCopy: source.fullCopy } : {};
  const happened = source.kind === "clone" ? "cloned" : "pulled";
  return { aggregate: "checkpoint", happened, data: { ...facts, ...how, sizeBytes } };
}

async function conclude(deps: NewVmDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  const { source } = context.input;
  await freeNewVm(deps, context);
  if (outcome.succeeded) {
    await releaseTarget(deps, context);
    const { name } = receiverOf(context);
    return {
      [isContainerName(name) ? "container" : "vm"]: name,
      checkpoint: nameOf(context),
      origin: originOf(source),
    };
  }
  const { reason, message } = outcome.error;
  const data = { origin: originOf(source), error: reason, message };
  const happened = source.kind === "clone" ? "clone_failed" : "pull_failed";
  await releaseTarget(deps, context, [{ aggregate: "checkpoint", happened, data }]);
  return undefined;
}
