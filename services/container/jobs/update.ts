import { type Container, RestartPolicy } from "#contracts/container/v1/container";
import type { Job } from "#libs/operations";
import type { Json } from "#libs/records";
import { freeWorkload, heldWorkload, type WorkloadInput, type WorkloadJobDeps } from "#libs/workloads";
import { changeRestart } from "../change-settings.ts";

export interface UpdateInput extends WorkloadInput {
  /** RestartPolicy as ProtoJSON. */
  readonly restart: Json;
}

/** Gives a container another restart policy: first to the engine of its host, then to its record. */
export function updateJob(deps: WorkloadJobDeps<Container>): Job<UpdateInput> {
  return {
    kind: "container.update",
    steps: [
      {
        name: "update",
        async run(context) {
          const { host, uid } = (await heldWorkload(deps, context)).body;
          const restart = RestartPolicy.fromJSON(context.input.restart);
          const action = { $case: "updateContainer", value: { restart } } as const;
          await deps.agents.runStep(context, { host, uid }, "update", action);
          return undefined;
        },
      },
    ],
    async conclude(context, outcome) {
      await freeWorkload(deps.records, context, async (body) => {
        if (!outcome.succeeded) return { body, events: [] };
        return changeRestart(body, RestartPolicy.fromJSON(context.input.restart));
      });
      return undefined;
    },
  };
}
