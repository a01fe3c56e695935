import type { HostAgentServiceImplementation, Workload } from "#contracts/host/v1/agent";
import { authorise } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import type { StepRunner } from "./step-runner.ts";

export interface StepHandlersDeps {
  readonly steps: Pick<StepRunner, "fence" | "run">;
  /** A workload as it is here; undefined where there is nothing of that uid. */
  readonly describe: (uid: string, epoch: number) => Promise<Workload> | Workload | undefined;
  readonly clock: Clock;
  /** hosts/<host> */
  readonly host: string;
}

/** By which every effect on a workload goes. */
export function stepHandlers({
  steps,
  describe,
  clock,
  host,
}: StepHandlersDeps): Pick<HostAgentServiceImplementation<CallScope>, "fence" | "runStep"> {
  return {
    async fence(request, { principal }) {
      authorise(principal, "update", host);
      const stepsDone = await steps.fence(request);
      return { workload: await describe(request.uid, request.epoch), stepsDone };
    },

    async *runStep(request, { principal, signal }) {
      authorise(principal, "update", host);
      if (request.action === undefined) throw new StillpointError("ARGUMENT_INVALID", "the step has no action");
      const run = await steps.run(request, request.action);
      for await (const value of run.progress(clock, signal)) yield { update: { $case: "progress", value } };
      signal.throwIfAborted();
      yield { update: { $case: "result", value: await run.result } };
    },
  };
}
