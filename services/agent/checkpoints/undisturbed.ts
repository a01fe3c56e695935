import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";

const LOOK_MS = 500;

/**
 * Does pieces of work on a workload's sealed layers, each when its turn among the background work has come: no merge
 * changes them meanwhile, and steps on the workload come first.
 */
export function undisturbed({ background, workloads, clock }: AgentParts, { signal }: StepContext, uid: string) {
  let pieces = 0;
  return async (work: () => Promise<void>): Promise<void> => {
    pieces += 1;
    const over = Promise.withResolvers<void>();
    const given = new AbortController();
    background.add(uid, `piece ${pieces} of a push`, () => async () => {
      if (!given.signal.aborted) await work().then(over.resolve, over.reject);
      return true;
    });
    const gone = async () => {
      for (;;) {
        await clock.sleep(LOOK_MS, AbortSignal.any([signal, given.signal]));
        if (workloads.find(uid) === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `${uid} was deleted`);
      }
    };
    try {
      await Promise.race([over.promise, gone()]);
    } finally {
      given.abort();
    }
  };
}
