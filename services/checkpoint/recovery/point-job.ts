import type { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { Retention } from "#contracts/checkpoint/v1/schedule";
import { CheckpointType, RecoveryPoint } from "#contracts/vm/v1/vm";
import { errorTable, isStillpointError, type Reason, StillpointError } from "#libs/errors";
import type { RegistryClient } from "#libs/oci";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { RecordStore } from "#libs/records";
import { expired } from "../domain/retention.ts";
import { type ActDeps, deleteExpired, takeCheckpoint } from "../schedules/act-on-vm.ts";
import { judge } from "../schedules/judge.ts";
import { pushCheckpoint } from "../schedules/prove-and-push.ts";
import { rulesOf } from "../schedules/schedule-record.ts";
import { pointEvent, pointOf, repositoryOf, workloadOfState } from "./recovery-record.ts";

export interface PointInput {
  readonly workloadUid: string;
  /** Names this attempt among all of the workload's. */
  readonly key: string;
}

export interface PointDeps extends ActDeps {
  readonly states: RecordStore<RecoveryState>;
  readonly registry: Pick<RegistryClient, "deleteManifest">;
}

type Context = JobContext<PointInput>;

/** Points are jobs of their own service: they wait for checkpoints, and must not take the workers that those need. */
export const pointKind = "recovery.point";

/** So many points stay, on the host and in the registry: the newest, and the one before while that is on its way. */
const keptPoints = 2;

/**
 * Takes and pushes a recovery point of a workload. Taking, pushing and deleting are operations of their own, as anybody's;
 * they are found again after a crash.
 */
export function pointJob(deps: PointDeps): Job<PointInput> {
  return {
    kind: pointKind,
    steps: [takeStep(deps), pushStep(deps), recordStep(deps), retireStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

function takeStep(deps: PointDeps): Step<PointInput> {
  return {
    name: "take",
    async run(context) {
      const taken = await takeCheckpoint(deps, {
        ...actOn(context),
        ...{ checkpointType: CheckpointType.UNSPECIFIED, excludeDisks: [] },
      });
      const [failure] = taken.failures;
      if (failure !== undefined) throw failed(failure);
      return { checkpoint: taken.checkpoint };
    },
  };
}

function pushStep(deps: PointDeps): Step<PointInput> {
  return {
    name: "push",
    async run(context) {
      const checkpoint = String(context.outputs.take?.checkpoint);
      const stored = await deps.store.records.get(checkpoint);
      const repository = repositoryOf(workloadOf(context));
      const uid = checkpoint.slice(checkpoint.lastIndexOf("/") + 1);
      const pushed = await pushCheckpoint(deps, { ...actOn(context), checkpoint, reference: `${repository}:${uid}` });
      if (pushed.failure !== undefined) throw failed(pushed.failure);
      const time = stored?.body.createTime ?? deps.clock.now();
      return { reference: `${repository}@${String(pushed.output.digest)}`, time: time.toISOString() };
    },
  };
}

/** From here on it is what the workload would be recovered from. */
function recordStep({ states }: PointDeps): Step<PointInput> {
  return {
    name: "record",
    async run(context) {
      const { take, push } = context.outputs;
      const point = RecoveryPoint.fromPartial({
        checkpoint: String(take?.checkpoint),
        reference: String(push?.reference),
        time: new Date(String(push?.time)),
      });
      await states.modify(context.target, ({ body }) => {
        if (body.point?.reference === point.reference) return undefined;
        const { checkpoint, reference } = point;
        const event = pointEvent("recovery_point_taken", body, { checkpoint, reference, time: push?.time });
        return { body: { ...body, point, kept: [...body.kept, reference] }, events: [event] };
      });
      return undefined;
    },
  };
}

/** What cannot be removed now is tried again with the next point. */
function retireStep(deps: PointDeps): Step<PointInput> {
  return {
    name: "retire",
    async run(context) {
      const rules = rulesOf(Retention.fromPartial({ keepLast: keptPoints }));
      const { vm, schedule, key, signal } = actOn(context);
      const verdicts = await judge(deps.store, { vm, schedule: { name: schedule, timeZone: "" }, rules });
      const checkpoints = expired(verdicts).map(({ record }) => record.name);
      const { failures } = await deleteExpired(deps, { vm, schedule, key, signal, checkpoints });
      const kept = (await deps.states.get(context.target))?.body.kept ?? [];
      const gone = kept.slice(0, -keptPoints);
      await removePoints(deps.registry, gone, signal);
      await deps.states.modify(context.target, ({ body }) => {
        const left = body.kept.filter((reference) => !gone.includes(reference));
        return left.length === body.kept.length ? undefined : { body: { ...body, kept: left } };
      });
      return { failures };
    },
  };
}

/** Removes points from the registry; those that are gone are passed over. */
export async function removePoints(
  registry: PointDeps["registry"],
  references: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const reference of references) {
    const [repository = "", digest = ""] = reference.split("@");
    try {
      await registry.deleteManifest(repository, digest, signal);
    } catch (error) {
      if (!isStillpointError(error, "IMAGE_NOT_FOUND")) throw error;
    }
  }
}

const workloadOf = ({ target }: Context): string => workloadOfState({ name: target });

const actOn = (context: Context) => ({
  schedule: context.target,
  vm: { name: workloadOf(context), uid: context.input.workloadUid },
  key: `${context.input.workloadUid} ${context.input.key}`,
  signal: context.signal,
});

function failed({ reason, message }: { readonly reason: string; readonly message: string }): StillpointError {
  return new StillpointError(reason in errorTable ? (reason as Reason) : "INTERNAL", message);
}

/** Says how it went, and frees the state; leaves it alone when another operation holds it. */
async function conclude({ states }: PointDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  await states.modify(context.target, ({ body, operation }) => {
    if (operation !== context.operationId) return undefined;
    if (outcome.succeeded) return { operation: null };
    const { reason: failureReason, message: failureMessage } = outcome.error;
    const point = { ...pointOf(body), failureReason, failureMessage };
    // Once for each reason, not for each attempt.
    const isNews = body.point?.failureReason !== failureReason;
    const data = { reason: failureReason, message: failureMessage };
    const events = isNews ? [pointEvent("recovery_point_failed", body, data)] : [];
    return { body: { ...body, point }, operation: null, events };
  });
  const { take, push } = context.outputs;
  return outcome.succeeded ? { ...take, ...push } : undefined;
}
