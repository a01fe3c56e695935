import type { Checkpoint, PushedTo } from "#contracts/checkpoint/v1/checkpoint";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import { consistencyWord } from "../contract-words.ts";
import { noCheckpoint } from "../refusals.ts";
import { releaseTarget } from "./held-target.ts";
import type { JobDeps } from "./job-deps.ts";

export interface PushInput {
  /** Resource name of the VM. */
  readonly workload: string;
  readonly workloadUid: string;
  readonly checkpointUid: string;
  readonly repository: string;
  readonly tag: string;
}

type Context = JobContext<PushInput>;

/** Sends a checkpoint to the registry. What an attempt that failed has sent stays there, for the next one. */
export function pushJob(deps: JobDeps): Job<PushInput> {
  return {
    kind: "checkpoint.push",
    steps: [pushStep(deps), recordStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

function pushStep({ vms, store, agents }: JobDeps): Step<PushInput> {
  return {
    name: "push",
    async run(context) {
      const { checkpointUid, repository, tag, workload, workloadUid } = context.input;
      const stored = await store.records.get(context.target);
      if (stored === undefined) throw noCheckpoint(context.target);
      const vm = await vms.get(workload);
      const record = recordOf(stored.body, vm?.uid === workloadUid ? vm.body : undefined);
      const value = { checkpointUid, workloadUid, repository, tag, record };
      const at = { host: stored.body.host, uid: checkpointUid };
      const { pushed } = await agents.runStep(context, at, "push", { $case: "pushCheckpoint", value });
      if (pushed === undefined) throw new StillpointError("INTERNAL", `${at.host} did not say what it pushed`);
      return { ...pushed };
    },
  };
}

/** The checkpoint tells where it is. A reference that named another one before names this one now. */
function recordStep({ store, clock }: JobDeps): Step<PushInput> {
  return {
    name: "record",
    async run(context) {
      const reference = referenceOf(context);
      const digest = String(context.outputs.push?.digest);
      await store.records.modify(context.target, ({ body }) => {
        if (body.pushed.some((it) => it.reference === reference && it.digest === digest)) return undefined;
        const now = clock.now();
        const pushed: PushedTo[] = [
          ...body.pushed.filter((it) => it.reference !== reference),
          { reference, digest, time: now },
        ];
        const facts = { name: body.name, workload: context.input.workload, displayName: body.displayName };
        const data = { ...facts, reference, ...context.outputs.push };
        return {
          body: { ...body, pushed, updateTime: now },
          events: [{ aggregate: "checkpoint", happened: "pushed", data }],
        };
      });
      return undefined;
    },
  };
}

/** What stays with the checkpoint wherever it goes. User data may hold secrets: it does not go with it. */
function recordOf(checkpoint: Checkpoint, vm: Vm | undefined): Record<string, unknown> {
  const { name, displayName, parent, consistency, createTime, receipt } = checkpoint;
  const { userData: _secret, ...spec } = vm?.spec ?? VmSpec.fromPartial({});
  return {
    ...{ name, displayName, parent, receipt },
    consistency: consistencyWord(consistency),
    createTime: (createTime ?? new Date(0)).toISOString(),
    spec: VmSpec.toJSON(VmSpec.fromPartial(spec)),
  };
}

const referenceOf = ({ input }: Context) => `${input.repository}:${input.tag}`;

async function conclude(deps: JobDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  const reference = referenceOf(context);
  if (outcome.succeeded) {
    await releaseTarget(deps, context);
    return { checkpoint: context.target, reference, ...context.outputs.push };
  }
  const { reason, message } = outcome.error;
  const data = { name: context.target, workload: context.input.workload, reference, error: reason, message };
  await releaseTarget(deps, context, [{ aggregate: "checkpoint", happened: "push_failed", data }]);
  return undefined;
}
