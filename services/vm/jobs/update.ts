import type { Recovery, Vm } from "#contracts/vm/v1/vm";
import type { Job } from "#libs/operations";
import { acceptedWorkload, freeWorkload, type WorkloadInput, type WorkloadJobDeps } from "#libs/workloads";
import { changeRecovery } from "../change-policies.ts";

export interface UpdateInput extends WorkloadInput {
  readonly recovery: Recovery;
}

/** Says whether a VM is guarded from its next start on: first to its host, then in its record. */
export function updateJob(deps: WorkloadJobDeps<Vm>): Job<UpdateInput> {
  return {
    kind: "vm.update",
    steps: [
      {
        name: "update",
        async run(context) {
          const { host, uid } = (await acceptedWorkload(deps, context)).body;
          const action = { $case: "setVmRecovery", value: { recovery: context.input.recovery } } as const;
          await deps.agents.runStep(context, { host, uid }, "update", action);
          return undefined;
        },
      },
    ],
    async conclude(context, outcome) {
      await freeWorkload(deps, context, async (body) =>
        outcome.succeeded ? changeRecovery(body, context.input.recovery) : { body, events: [] },
      );
      return undefined;
    },
  };
}
