import type { Container } from "#contracts/container/v1/container";
import type { Job } from "#libs/operations";
import {
  createJob,
  deleteJob,
  hostJob,
  type MoveDeps,
  moveJob,
  type RecoverDeps,
  recoverJob,
  type WorkloadInput,
} from "#libs/workloads";
import { destroy, type MakingDeps, makingWith } from "./making.ts";
import { movingWith } from "./moving.ts";
import { updateJob } from "./update.ts";

interface StopInput extends WorkloadInput {
  /** 0 means no grace. */
  readonly timeoutSeconds: number;
}

interface KillInput extends WorkloadInput {
  readonly signal: string;
}

/** Every long job of a container's life. */
export function containerJobs(deps: Omit<MoveDeps<Container> & RecoverDeps<Container>, "moving"> & MakingDeps): Job[] {
  const moving = movingWith(deps);
  return [
    createJob(deps, makingWith(deps)),
    hostJob(deps, { kind: "container.start", step: "start", action: () => ({ $case: "startContainer", value: {} }) }),
    hostJob<Container, StopInput>(deps, {
      kind: "container.stop",
      step: "stop",
      action: ({ timeoutSeconds }) => ({ $case: "stopContainer", value: { timeoutSeconds } }),
    }),
    hostJob<Container, KillInput>(deps, {
      kind: "container.kill",
      step: "kill",
      action: ({ signal }) => ({ $case: "killContainer", value: { signal } }),
      happened: "killed",
      facts: ({ signal }) => ({ signal }),
    }),
    updateJob(deps),
    moveJob({ ...deps, moving }),
    recoverJob({ ...deps, moving }),
    deleteJob(deps, destroy),
  ] as Job[];
}
