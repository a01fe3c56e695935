export {
  type AcceptDeps,
  acceptAction,
  acceptDelete,
  accepting,
  findWorkload,
  refuseUnless,
} from "./accept.ts";
export { type CreateInput, createJob, type Making } from "./create-job.ts";
export { deleteJob } from "./delete-job.ts";
export {
  acceptedWorkload,
  freeWorkload,
  type WorkloadInput,
  type WorkloadJobDeps,
} from "./held-workload.ts";
export { hostJob } from "./host-job.ts";
export {
  type Folded,
  notFound,
  type Refusal,
  type WorkloadBody,
  type WorkloadKind,
  workloadEvent,
} from "./kind.ts";
export { tellOfLease } from "./lease-change.ts";
export { leasePaused } from "./lease-reason.ts";
export { type LostDeps, markLost } from "./mark-lost.ts";
export { moveJob } from "./move/move-job.ts";
export type { MoveDeps, Moving } from "./move/move-state.ts";
export { foldObserved, observed } from "./observed.ts";
export { openWorkloads } from "./open-workloads.ts";
export { type CheckpointPolicy, foldStorage, type Readiness } from "./readiness.ts";
export { type AcceptRecoveryDeps, acceptRecovery } from "./recover/accept-recovery.ts";
export { mayBringAway } from "./recover/leaving.ts";
export { recoverJob } from "./recover/recover-job.ts";
export type { RecoverDeps } from "./recover/recover-state.ts";
export { isUnrecovered } from "./recover/unrecovered.ts";
export { refuseProblems } from "./refuse-problems.ts";
export { containerRequirements, vmRequirements, wholeLimits } from "./requirements.ts";
export { watchWorkloads } from "./watch-workloads.ts";
