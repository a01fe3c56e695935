import type { JobContext } from "#libs/operations";
import type { Workload } from "../records/checkpoint-store.ts";

const vmsAtOnce = 2;

/**
 * Works on each VM, few at a time so that a host is not busy with nothing else, and gives what came of it in order.
 * Fails with the first failure when all work has ended.
 */
export async function eachVm<Result>(
  vms: readonly Workload[],
  { progress }: Pick<JobContext, "progress">,
  work: (vm: Workload) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = vms.entries();
  let done = 0;
  const worker = async () => {
    for (const [index, vm] of queue) {
      results[index] = await work(vm);
      done += 1;
      progress({ message: `${done} of ${vms.length} workloads`, percent: Math.round((100 * done) / vms.length) });
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: vmsAtOnce }, worker));
  const failure = ended.find((each) => each.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  return results;
}
