import type {
  ExecRequest,
  ExecResponse,
  FenceResponse,
  HostAgentClient,
  RunStepRequest,
  StepResult,
  Workload,
} from "#contracts/host/v1/agent";
import type { CheckpointReadiness } from "#contracts/vm/v1/vm";
import type { JobContext } from "#libs/operations";

/** What services ask of the agents on the hosts. Every failure is a StillpointError. */
export interface HostAgents {
  /**
   * One step of an operation on the host that has the workload. Fences once for each claim, forwards the agent's
   * progress to the context, and joins the step again when the agent was away for less than `patienceMs`.
   * Fails with EPOCH_STALE when a newer claim has taken over, HOST_UNREACHABLE when the agent stays away, and with
   * the agent's own error when the step failed. `step` must be unique in the operation: its answer is stored under it.
   */
  runStep(context: StepContext, at: WorkloadOnHost, step: string, action: AgentAction): Promise<StepResult>;
  /**
   * Ends what still runs on the workload at its next safe point, and gives the steps of this operation that are done:
   * for the undo of a step that cannot be taken back once the host has done it.
   */
  settle(context: StepContext, at: WorkloadOnHost): Promise<FenceResponse>;
  /** The workload as its host sees it; undefined when the host has none of that uid. As patient as `runStep`. */
  getWorkload(at: WorkloadOnHost, signal: AbortSignal): Promise<Workload | undefined>;
  /** What a checkpoint of the workload would give now, without the policy. As patient as `runStep`. */
  inspectReadiness(at: WorkloadOnHost, signal: AbortSignal): Promise<CheckpointReadiness>;
  /** Runs a command in the guest; the last message carries the exit code. */
  exec(
    at: WorkloadOnHost,
    request: Omit<ExecRequest, "uid">,
    options: { readonly signal: AbortSignal; readonly idleTimeoutMs?: number },
  ): AsyncIterable<ExecResponse>;
  /** Lets go of the connections. */
  close(): void;
}

/** The part of a job's context that a step on a host needs. */
export type StepContext = Pick<JobContext, "operationId" | "epoch" | "signal" | "progress">;

export interface WorkloadOnHost {
  /** hosts/<host> */
  readonly host: string;
  readonly uid: string;
}

export type AgentAction = NonNullable<RunStepRequest["action"]>;

/** The agent's gRPC client, as far as it is used here. */
export type AgentClient = Pick<
  HostAgentClient<{ idleTimeoutMs?: number }>,
  "fence" | "runStep" | "getWorkload" | "inspectReadiness" | "exec"
> & { close(): void };
