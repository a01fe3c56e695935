import type { AgentAction } from "#libs/host-agent";
import type { Job, JobContext, Outcome, Step } from "#libs/operations";
import {
  askHost,
  failedEvent,
  freeWorkload,
  heldWorkload,
  type WorkloadInput,
  type WorkloadJobDeps,
} from "./held-workload.ts";
import { type WorkloadBody, workloadEvent } from "./kind.ts";

interface DeleteInput<Body extends WorkloadBody> extends WorkloadInput {
  /** Its state before; it is in that again when the host could not be asked to do anything. */
  readonly before: Body["state"];
}

/** Removes a workload: what is of it on its host, its capacity, and at last its record. */
export function deleteJob<Body extends WorkloadBody>(
  deps: WorkloadJobDeps<Body>,
  destroy: AgentAction,
): Job<DeleteInput<Body>> {
  return {
    kind: `${deps.kind.word}.delete`,
    steps: [destroyStep(deps, destroy), releaseStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

function destroyStep<Body extends WorkloadBody>(
  deps: WorkloadJobDeps<Body>,
  destroy: AgentAction,
): Step<DeleteInput<Body>> {
  return {
    name: "destroy",
    async run(context) {
      const { host, movedFrom, uid } = (await heldWorkload(deps, context)).body;
      // On neither: one whose creation never got as far as a host.
      for (const at of new Set([host, movedFrom?.host ?? ""])) {
        if (at === "") continue;
        await deps.agents.runStep(context, { host: at, uid }, "destroy", destroy);
      }
      return undefined;
    },
  };
}

function releaseStep<Body extends WorkloadBody>({ scheduler }: WorkloadJobDeps<Body>): Step<DeleteInput<Body>> {
  return {
    name: "release",
    async run({ input, epoch }) {
      await scheduler.release({ uid: input.uid, epoch });
      return undefined;
    },
  };
}

async function conclude<Body extends WorkloadBody>(
  deps: WorkloadJobDeps<Body>,
  context: JobContext<DeleteInput<Body>>,
  outcome: Outcome,
) {
  const { kind, agents } = deps;
  await freeWorkload(deps, context, async (body) => {
    if (outcome.succeeded) return { gone: [workloadEvent(kind, "deleted", body, { host: body.host })] };
    const failed = failedEvent(kind, `${kind.word}.delete`, body, outcome);
    const answer = await askHost(agents, body);
    if (answer === "unknown") return { body: { ...body, state: context.input.before }, events: [failed] };
    if (answer !== undefined) return { body: kind.fold(body, answer).body, events: [failed] };
    // What it had there is gone, but not all of the rest: it can only be deleted again.
    const stateReason = outcome.error.message;
    return { body: { ...body, state: kind.states.failed, stateReason }, events: [failed] };
  });
  return undefined;
}
