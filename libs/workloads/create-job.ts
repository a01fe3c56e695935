import type { Requirements } from "#contracts/scheduler/v1/scheduler";
import type { AgentAction } from "#libs/host-agent";
import { operationName } from "#libs/names";
import type { Job, JobContext, Outcome, Step } from "#libs/operations";
import {
  acceptedWorkload,
  askHost,
  failedEvent,
  freeWorkload,
  outputOf,
  type WorkloadInput,
  type WorkloadJobDeps,
  workloadIn,
} from "./held-workload.ts";
import { type Folded, type WorkloadBody, workloadEvent } from "./kind.ts";
import { runOnHost } from "./run-on-host.ts";

export interface CreateInput extends WorkloadInput {
  readonly start: boolean;
}

/** How a workload of this kind is made on its host. */
export interface Making<Body> {
  requirements(body: Body): Partial<Requirements>;
  /** Makes it, and starts it where that is asked for and `start` is absent. Undone by `destroy`. */
  make(body: Body, start: boolean): AgentAction;
  /** Absent: `make` starts it. */
  readonly start?: AgentAction;
  /** Ends it first when it runs. */
  readonly destroy: AgentAction;
}

/** Makes a workload. When that fails nothing is left of it: no files, no reservation, no record. */
export function createJob<Body extends WorkloadBody>(
  deps: WorkloadJobDeps<Body>,
  making: Making<Body>,
): Job<CreateInput> {
  const { start } = making;
  return {
    kind: `${deps.kind.word}.create`,
    steps: [placeStep(deps, making), makeStep(deps, making), ...(start === undefined ? [] : [startStep(deps, start)])],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** Finds a host and holds capacity on it. */
function placeStep<Body extends WorkloadBody>(deps: WorkloadJobDeps<Body>, making: Making<Body>): Step<CreateInput> {
  return {
    name: "place",
    async run(context) {
      const { uid, body } = await acceptedWorkload(deps, context);
      const { host } = await deps.scheduler.place({
        workload: context.target,
        uid,
        operation: operationName(context.operationId),
        epoch: context.epoch,
        requirements: making.requirements(body),
      });
      return { host };
    },
    async undo({ input, epoch }) {
      await deps.scheduler.release({ uid: input.uid, epoch });
    },
  };
}

/** Pulls the image and makes what it needs, on that host. */
function makeStep<Body extends WorkloadBody>(deps: WorkloadJobDeps<Body>, making: Making<Body>): Step<CreateInput> {
  return {
    name: "make",
    async run(context) {
      const { body } = await acceptedWorkload(deps, context);
      return outputOf(
        await deps.agents.runStep(context, placed(context), "make", making.make(body, context.input.start)),
      );
    },
    async undo(context) {
      await deps.agents.runStep(context, placed(context), "unmake", making.destroy);
    },
  };
}

/** What it does is taken back by the undo of `make`. */
function startStep<Body extends WorkloadBody>({ agents }: WorkloadJobDeps<Body>, start: AgentAction) {
  const step: Step<CreateInput> = {
    name: "start",
    skip: ({ input }) => !input.start,
    run: async (context) =>
      outputOf(await runOnHost(agents, context, { at: placed(context), step: "start", action: start })),
  };
  return step;
}

async function conclude<Body extends WorkloadBody>(
  deps: WorkloadJobDeps<Body>,
  context: JobContext<CreateInput>,
  outcome: Outcome,
) {
  const host = hostOf(context);
  const { kind } = deps;
  await freeWorkload(deps, context, async (body) => {
    if (outcome.succeeded) return made(deps, context, { ...body, host });
    const failed = failedEvent(kind, `${kind.word}.create`, body, outcome);
    if (outcome.error.reason !== "UNDO_FAILED") return { gone: [failed] };
    // Something of it is still there: the record stays, so that it can be seen and deleted.
    const { message } = outcome.error;
    return { body: { ...body, host, state: kind.states.failed, stateReason: message }, events: [failed] };
  });
  return outcome.succeeded ? { name: context.target, uid: context.input.uid, host } : undefined;
}

async function made<Body extends WorkloadBody>(
  { kind, agents }: WorkloadJobDeps<Body>,
  context: JobContext<CreateInput>,
  body: Body,
): Promise<Folded<Body>> {
  const answer = kind.isFollowed ? undefined : await askHost(agents, body);
  const { start, make } = context.outputs;
  const left = workloadIn(start ?? make);
  const folded = kind.fold(body, answer === undefined || answer === "unknown" ? left : answer);
  const created = workloadEvent(kind, "created", body, { host: body.host, image: body.imageDigest });
  return { body: folded.body, events: [created, ...folded.events] };
}

/** Empty before it was placed. */
function hostOf({ outputs }: JobContext<CreateInput>): string {
  const host = outputs.place?.host;
  return typeof host === "string" ? host : "";
}

const placed = (context: JobContext<CreateInput>) => ({ host: hostOf(context), uid: context.input.uid });
