import type { JobContext } from "#libs/operations";
import type { Excluded } from "../domain/exclusions.ts";
import type { Cause, Decision, TakenType } from "../domain/policy.ts";
import type { JsonObject } from "../domain/receipt.ts";

/** Decided when the request was accepted; the same however often the job begins again. */
export interface CreateInput {
  readonly workloadUid: string;
  /** Also the last part of the checkpoint's name. */
  readonly checkpointUid: string;
  readonly displayName: string;
  /** Undefined: the VM's own type. */
  readonly asked?: TakenType;
  /** Ids of disks that were asked to stay out. */
  readonly excludeDisks?: readonly string[];
  /** Name of the schedule that takes it. */
  readonly schedule?: string;
  /** Name of the group checkpoint that it belongs to. */
  readonly groupCheckpoint?: string;
}

/** Output of step `prepare`. */
export interface Prepared {
  readonly host: string;
  /** uid of the checkpoint that now goes on from; empty for the first. */
  readonly parent: string;
  readonly type: TakenType;
  readonly decision: Decision;
  /** Longest time that the guest may stand frozen; 0 for the agent's own limit. */
  readonly freezeWindowMs: number;
  /** Disks that stay out. */
  readonly excluded: readonly Excluded[];
  /** Why its memory cannot be saved; absent where it can. */
  readonly noMemory?: Cause;
}

/** Output of the steps that take or verify: what came of it, and what follows. */
export interface Taken {
  readonly evidence: JsonObject;
  readonly sizeBytes: number;
  readonly decision: Decision;
  /** False when the host had left nothing behind by itself. */
  readonly taken: boolean;
}

export interface CreateState {
  readonly prepared: Prepared;
  readonly production: Taken | undefined;
  readonly offline: Taken | undefined;
  readonly verify: Taken | undefined;
  readonly standard: Taken | undefined;
  /** The latest decision. */
  readonly decision: Decision;
}

/** Where a create stands, read from the outputs of the steps that are done. */
export function createState(context: JobContext<CreateInput>): CreateState {
  const prepared = context.outputs.prepare as unknown as Prepared | undefined;
  if (prepared === undefined) throw new Error("step prepare has no output");
  const output = (step: string) => context.outputs[step] as unknown as Taken | undefined;
  const [production, offline, verify, standard] = ["production", "offline", "verify", "standard"].map(output);
  const decision = (verify ?? offline ?? production ?? prepared).decision;
  return { prepared, production, offline, verify, standard, decision };
}
