import type { Checkpoint, PushedTo } from "#contracts/checkpoint/v1/checkpoint";
import { type Container, ContainerSpec } from "#contracts/container/v1/container";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { StoredRecord } from "#libs/records";
import { consistencyWord } from "../records/contract-words.ts";
import { isContainerName } from "../records/workload-record.ts";
import { noCheckpoint } from "../requests/refusals.ts";
import { releaseTarget } from "./held-target.ts";
import type { JobDeps } from "./job-deps.ts";

export interface PushInput {
  /** Resource name. */
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

function pushStep({ vms, containers, store, agents }: JobDeps): Step<PushInput> {
  return {
    name: "push",
    async run(context) {
      const { checkpointUid, repository, tag, workload, workloadUid } = context.input;
      const stored = await store.records.get(context.target);
      if (stored === undefined) throw noCheckpoint(context.target);
      const spec = isContainerName(workload)
        ? containerSpec(unlessOther(await containers.get(workload), workloadUid))
        : vmSpec(unlessOther(await vms.get(workload), workloadUid));
      const record = recordOf(stored.body, spec);
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

/** Undefined when it was made again since. */
function unlessOther<Body>(stored: StoredRecord<Body> | undefined, uid: string): Body | undefined {
  return stored?.uid === uid ? stored.body : undefined;
}

/** User data may hold secrets: it does not go with it. */
function vmSpec(vm: Vm | undefined): unknown {
  const { userData: _secret, ...spec } = vm?.spec ?? VmSpec.fromPartial({});
  return VmSpec.toJSON(VmSpec.fromPartial(spec));
}

/** With its image by digest. Its secrets do not go with it. */
function containerSpec(container: Container | undefined): unknown {
  const { secrets: _secret, ...spec } = container?.spec ?? ContainerSpec.fromPartial({});
  return ContainerSpec.toJSON(ContainerSpec.fromPartial({ ...spec, image: container?.imageDigest ?? "" }));
}

/** What stays with the checkpoint wherever it goes. */
function recordOf(checkpoint: Checkpoint, spec: unknown): Record<string, unknown> {
  const { name, displayName, parent, consistency, createTime, receipt } = checkpoint;
  return {
    ...{ name, displayName, parent, receipt },
    consistency: consistencyWord(consistency),
    createTime: (createTime ?? new Date(0)).toISOString(),
    spec,
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
