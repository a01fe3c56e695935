import type { HostAgentServiceImplementation } from "#contracts/host/v1/agent";
import { authorise } from "#libs/auth";
import type { Clock } from "#libs/clock";
import type { CallScope } from "#libs/rpc";
import type { StorageWatch } from "./checkpoints/storage-watch.ts";
import { inspectContainer } from "./containers/checkpoints/inspect.ts";
import type { ContainerParts } from "./containers/container-parts.ts";
import { runCommand } from "./containers/run-command.ts";
import { execInGuest } from "./guest-exec.ts";
import { manifestHandlers } from "./manifests/handlers.ts";
import type { ReadinessWatch } from "./readiness/readiness-watch.ts";
import { stepHandlers } from "./steps/step-handlers.ts";
import type { StepRunner } from "./steps/step-runner.ts";
import type { DataFolder } from "./workload-folder.ts";
import type { Workloads } from "./workloads.ts";

export interface HandlerDeps {
  readonly workloads: Workloads;
  /** Undefined on a host that is not to have any. */
  readonly containers: ContainerParts | undefined;
  readonly steps: StepRunner;
  readonly storage: Pick<StorageWatch, "measure">;
  readonly readiness: Pick<ReadinessWatch, "ask">;
  readonly clock: Clock;
  /** hosts/<host> */
  readonly host: string;
  readonly hostUid: string;
  readonly data: DataFolder;
}

/** The agent's API; every effect on a workload is a step. */
export function createHandlers({
  workloads,
  containers: parts,
  steps,
  storage,
  readiness,
  clock,
  host,
  ...own
}: HandlerDeps): HostAgentServiceImplementation<CallScope> {
  const containers = parts?.containers;
  const describe = (uid: string, epoch: number) => (workloads.find(uid) ?? containers?.find(uid))?.describe(epoch);
  return {
    ...stepHandlers({ steps, describe, clock, host }),
    ...manifestHandlers({ workloads, containers, steps, host, ...own }),

    async getWorkload({ uid }, { principal }) {
      authorise(principal, "get", host);
      const container = containers?.find(uid);
      if (container !== undefined) {
        const sizes = parts?.storage.measure(container).catch(() => undefined);
        return { ...container.describe(await steps.epochOf(uid)), storage: await sizes };
      }
      const workload = workloads.get(uid);
      return { ...(await workload.describe(await steps.epochOf(uid))), storage: await storage.measure(workload) };
    },

    async listWorkloads(_request, { principal }) {
      authorise(principal, "list", host);
      const all = [...workloads.list(), ...(containers?.list() ?? [])];
      const described = all.map(async (workload) => workload.describe(await steps.epochOf(workload.uid)));
      return { workloads: await Promise.all(described) };
    },

    async inspectReadiness({ uid }, { principal, signal }) {
      authorise(principal, "get", host);
      const container = containers?.find(uid);
      if (parts === undefined || container === undefined) return await readiness.ask(workloads.get(uid));
      return await inspectContainer(parts, container, signal);
    },

    async *exec(request, { principal, signal }) {
      authorise(principal, "use", host);
      if (parts === undefined || containers?.find(request.uid) === undefined) {
        yield* execInGuest(workloads.get(request.uid), request, { clock, signal });
      } else {
        parts.requireEngine();
        yield* runCommand({ ...parts, signal }, request);
      }
    },
  };
}
