import type { ContainersClient } from "#contracts/container/v1/container";
import type { VmsClient } from "#contracts/vm/v1/vm";
import type { Reason } from "#libs/errors";

/** The services that recover what is theirs. */
export interface Recoverers {
  readonly vms: Pick<VmsClient, "recoverVm">;
  readonly containers: Pick<ContainersClient, "recoverContainer">;
}

export interface AskedRecovery {
  /** Resource name of the workload. */
  readonly name: string;
  /** hosts/<host> that it is on. */
  readonly host: string;
  readonly requestId: string;
}

export const isContainer = (workload: string): boolean => workload.split("/")[2] === "containers";

/** Gives the operation, as it was when it was accepted. */
export const askRecovery = async ({ vms, containers }: Recoverers, asked: AskedRecovery) =>
  isContainer(asked.name) ? await containers.recoverContainer(asked) : await vms.recoverVm(asked);

/** Failures after which nobody knows whether it was accepted: the same request is to be made again. */
export const unanswered: ReadonlySet<Reason> = new Set([
  "UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "DEADLINE_EXCEEDED",
] as const);
