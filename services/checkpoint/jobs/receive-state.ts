import type { ReceiveCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { JobContext } from "#libs/operations";
import type { MadeVm, WantedVm } from "./made-vm.ts";

/** Where a checkpoint is received from. */
export type Source =
  | {
      readonly kind: "clone";
      /** Resource name; the operation's target. */
      readonly checkpoint: string;
      readonly checkpointUid: string;
      readonly workloadUid: string;
      readonly fullCopy: boolean;
    }
  | {
      readonly kind: "pull";
      /** <repository>@sha256:... */
      readonly reference: string;
    };

/** A checkpoint on its way into a VM: one that is made for it, or one that exists. The same however often it begins again. */
export interface ReceivingInput {
  readonly source: Source;
  /** Of the checkpoint as it is received, also the last part of its name. */
  readonly checkpointUid: string;
  readonly newVm?: WantedVm;
  /** Or the VM that exists: the operation's target. */
  readonly workload?: Receiver;
  /** Of the new VM. */
  readonly generationId: string;
  /** Whether the new VM is started. */
  readonly start: boolean;
}

export interface Receiver extends MadeVm {
  /** Resource name. */
  readonly name: string;
}

/** The VM that receives: the one that exists, or the one that was made. */
export function receiverOf(context: JobContext<ReceivingInput>): Receiver {
  const { workload, newVm } = context.input;
  if (workload !== undefined) return workload;
  const made = madeVm(context);
  if (made === undefined || newVm === undefined) throw new StillpointError("INTERNAL", "step create-vm has no output");
  return { ...made, name: newVm.name };
}

/** The VM that step create-vm made; undefined before that. */
export const madeVm = ({ outputs }: JobContext<ReceivingInput>): MadeVm | undefined =>
  outputs["create-vm"] as unknown as MadeVm | undefined;

/** What the agent is asked for. */
export function receiveAction(source: Source, checkpointUid: string): ReceiveCheckpoint {
  const common = { checkpointUid, parentCheckpointUid: "" };
  if (source.kind === "pull") return { ...common, source: { $case: "reference", value: source.reference } };
  const { workloadUid, fullCopy } = source;
  const local = { workloadUid, checkpointUid: source.checkpointUid, fullCopy };
  return { ...common, source: { $case: "local", value: local } };
}

/** What the checkpoint came from, for people and for lineage. */
export const originOf = (source: Source): string => (source.kind === "clone" ? source.checkpoint : source.reference);
