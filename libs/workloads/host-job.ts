import type { AgentAction } from "#libs/host-agent";
import type { Job, JobContext, JobOutput, Outcome } from "#libs/operations";
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

export interface HostJob<Input extends WorkloadInput> {
  /** "vm.stop" */
  readonly kind: string;
  /** Name of its one step. */
  readonly step: string;
  readonly action: (input: Input) => AgentAction;
  /** Told when it succeeded, where a change of state does not tell. */
  readonly happened?: string;
  /** What is told with it, beside uid and host. */
  readonly facts?: (input: Input) => Readonly<Record<string, unknown>>;
}

/**
 * A job of one step on the workload's host, after which the workload is as its host says. There is nothing to undo: a
 * step that failed has left the workload as it was, and one that is done is what was asked for.
 */
export function hostJob<Body extends WorkloadBody, Input extends WorkloadInput>(
  deps: WorkloadJobDeps<Body>,
  job: HostJob<Input>,
): Job<Input> {
  return {
    kind: job.kind,
    steps: [
      {
        name: job.step,
        async run(context) {
          const { host, uid } = (await acceptedWorkload(deps, context)).body;
          const { step, action } = job;
          const wanted = { at: { host, uid }, step, action: action(context.input) };
          return outputOf(await runOnHost(deps.agents, context, wanted));
        },
      },
    ],
    async conclude(context, outcome) {
      await freeWorkload(deps, context, (body) => newState(deps, job, { context, outcome, body }));
      return undefined;
    },
  };
}

/** The workload as its host says it is. `left`: as a step left it, for when the host does not answer. */
export async function asOnHost<Body extends WorkloadBody>(
  { kind, agents }: Pick<WorkloadJobDeps<Body>, "kind" | "agents">,
  body: Body,
  left: JobOutput | undefined,
): Promise<Folded<Body>> {
  const answer = await askHost(agents, body);
  const workload = answer === "unknown" ? workloadIn(left) : answer;
  return workload === undefined ? { body, events: [] } : kind.fold(body, workload);
}

interface Ended<Body, Input> {
  readonly context: JobContext<Input>;
  readonly outcome: Outcome;
  readonly body: Body;
}

async function newState<Body extends WorkloadBody, Input extends WorkloadInput>(
  { kind, agents }: WorkloadJobDeps<Body>,
  { kind: job, step, happened, facts }: HostJob<Input>,
  { context, outcome, body }: Ended<Body, Input>,
): Promise<Folded<Body>> {
  const folded = await asOnHost({ kind, agents }, body, context.outputs[step]);
  if (!outcome.succeeded) {
    return { body: folded.body, events: [...folded.events, failedEvent(kind, job, body, outcome)] };
  }
  const data = { host: body.host, ...facts?.(context.input) };
  const told = happened === undefined ? [] : [workloadEvent(kind, happened, body, data)];
  return { body: folded.body, events: [...folded.events, ...told] };
}
