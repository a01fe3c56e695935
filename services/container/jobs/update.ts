import { type Container, RestartPolicy } from "#contracts/container/v1/container";
import type { Recovery } from "#contracts/vm/v1/vm";
import type { Job } from "#libs/operations";
import type { Json } from "#libs/records";
import { acceptedWorkload, freeWorkload, type WorkloadInput, type WorkloadJobDeps } from "#libs/workloads";
import { changeRecovery, changeRestart } from "../change-settings.ts";

export interface UpdateInput extends WorkloadInput {
  /** RestartPolicy as ProtoJSON; absent where recovery is changed. */
  readonly restart?: Json;
  readonly recovery?: Recovery;
}

/** Gives a container another restart policy, or recovery: first to its host, then to its record. */
export function updateJob(deps: WorkloadJobDeps<Container>): Job<UpdateInput> {
  return {
    kind: "container.update",
    steps: [
      {
        name: "update",
        async run(context) {
          const { host, uid } = (await acceptedWorkload(deps, context)).body;
          const { recovery } = context.input;
          const restart = restartIn(context.input);
          const action = { $case: "updateContainer", value: { restart, recovery } } as const;
          await deps.agents.runStep(context, { host, uid }, "update", action);
          return undefined;
        },
      },
    ],
    async conclude(context, outcome) {
      await freeWorkload(deps, context, async (body) => {
        if (!outcome.succeeded) return { body, events: [] };
        const { recovery } = context.input;
        const restart = restartIn(context.input);
        const changed = recovery === undefined ? { body, events: [] } : changeRecovery(body, recovery);
        if (restart === undefined) return changed;
        const both = changeRestart(changed.body, restart);
        return { body: both.body, events: [...changed.events, ...both.events] };
      });
      return undefined;
    },
  };
}

const restartIn = ({ restart }: UpdateInput): RestartPolicy | undefined =>
  restart === undefined ? undefined : RestartPolicy.fromJSON(restart);
