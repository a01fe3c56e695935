import { Checkpoint, CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import { checkpointName } from "#libs/names";
import type { JobContext, Step } from "#libs/operations";
import type { RecordEvent } from "#libs/records";
import { judgeFreeze } from "../domain/evidence.ts";
import { sealReceipt, type Verdict, writeReceipt } from "../domain/receipt.ts";
import { consistencyWords, kindWords, typeWords } from "../records/contract-words.ts";
import { sha256 } from "../records/digest.ts";
import { type CreateInput, type CreateState, createState } from "./create-state.ts";
import { freezeEvents } from "./freeze-events.ts";
import type { JobDeps } from "./job-deps.ts";

/** Makes the checkpoint visible: its record, then the head that stands on it. */
export function publishStep({ store, clock }: JobDeps): Step<CreateInput> {
  return {
    name: "publish",
    async run(context) {
      const name = checkpointName(context.target, context.input.checkpointUid);
      const stored = await store.records.get(name);
      const checkpoint = stored?.body ?? writeCheckpoint(context, name, clock.now());
      if (stored === undefined) {
        const events = eventsOf(context, checkpoint);
        await store.records.create(name, { uid: checkpoint.uid, body: checkpoint, events });
      }
      await store.moveHead(workloadOf(context), { parent: checkpoint.uid });
      return factsOf(checkpoint);
    },
    async undo(context) {
      const { prepared } = createState(context);
      await store.moveHead(workloadOf(context), { parent: prepared.parent });
      const stored = await store.records.get(checkpointName(context.target, context.input.checkpointUid));
      if (stored === undefined) return;
      const data = { name: stored.name, workload: context.target, why: "its creation was undone" };
      await store.records.remove(stored, [{ aggregate: "checkpoint", happened: "deleted", data }]);
    },
  };
}

const workloadOf = ({ target, input }: JobContext<CreateInput>) => ({ name: target, uid: input.workloadUid });

function writeCheckpoint(context: JobContext<CreateInput>, name: string, now: Date): Checkpoint {
  const { checkpointUid, displayName, workloadUid, schedule = "", groupCheckpoint = "" } = context.input;
  const state = createState(context);
  const verdict = verdictOf(state);
  const refused = refusedEvidence(state);
  const receipt = writeReceipt(verdict, {
    checkpointUid,
    workload: context.target,
    workloadUid,
    parent: state.prepared.parent,
    evidence: { ...lastTaken(state)?.evidence, ...provenEvidence(state) },
    excluded: state.prepared.excluded,
    ...(refused === undefined ? {} : { refused }),
  });
  return Checkpoint.fromPartial({
    name,
    uid: checkpointUid,
    displayName,
    workloadUid,
    parent: state.prepared.parent,
    kind: kindWords[verdict.kind],
    consistency: consistencyWords[verdict.consistency],
    state: CheckpointState.READY,
    requestedType: typeWords[verdict.requestedType],
    fellBack: verdict.fellBack,
    reason: verdict.cause?.code ?? "",
    sizeBytes: lastTaken(state)?.sizeBytes ?? 0,
    receipt: sealReceipt(receipt, sha256),
    createTime: now,
    updateTime: now,
    host: state.prepared.host,
    excludedDisks: state.prepared.excluded.map(({ id }) => id),
    schedule,
    groupCheckpoint,
  });
}

function verdictOf(state: CreateState): Verdict {
  const { decision, prepared, production, standard } = state;
  const requestedType = prepared.type;
  const cause = decision.cause === undefined ? {} : { cause: decision.cause };
  if (standard !== undefined) {
    const fellBack = decision.action === "standard" && decision.fellBack;
    return { requestedType, kind: "standard", consistency: "saved-state", fellBack, ...cause };
  }
  if (decision.action === "offline") {
    const consistency = decision.cause === undefined ? "offline" : "crash";
    return { requestedType, kind: "production", consistency, fellBack: false, ...cause };
  }
  const judgement = judgeFreeze(production?.evidence ?? {});
  const consistency = judgement.proven ? judgement.consistency : "crash";
  const reason = judgement.cause === undefined ? {} : { cause: judgement.cause };
  return { requestedType, kind: "production", consistency, fellBack: false, ...reason };
}

const lastTaken = ({ standard, offline, production }: CreateState) => standard ?? offline ?? production;

/** Evidence of the verification, where it is of what was published. */
const provenEvidence = ({ standard, verify }: CreateState) => (standard === undefined ? verify?.evidence : undefined);

/** What the production attempt showed that was given up. */
function refusedEvidence({ decision, production, verify }: CreateState) {
  if (production === undefined || decision.action === "production") return undefined;
  return { ...production.evidence, ...verify?.evidence };
}

/** What a person wants to know of a checkpoint, without its receipt. */
function factsOf(checkpoint: Checkpoint) {
  const { receipt, ...rest } = checkpoint;
  const json = Checkpoint.toJSON({ ...rest, receipt: undefined }) as Record<string, unknown>;
  return {
    ...json,
    fellBack: checkpoint.fellBack,
    detail: receipt?.detail ?? "",
    summary: receipt?.summary ?? "",
    receiptDigest: receipt?.digest ?? "",
  };
}

function eventsOf(context: JobContext<CreateInput>, checkpoint: Checkpoint): RecordEvent[] {
  const facts = { workload: context.target, ...factsOf(checkpoint) };
  const created = { aggregate: "checkpoint", happened: "created", data: facts };
  const fellBack = { aggregate: "checkpoint", happened: "fell_back", data: facts };
  return [...freezeEvents(context), created, ...(checkpoint.fellBack ? [fellBack] : [])];
}
