import { type Checkpoint, type CheckpointsClient, CheckpointsDefinition } from "#contracts/checkpoint/v1/checkpoint";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { createRpcClient } from "#libs/rpc";
import { connectVms } from "../harness/vm-client.ts";

/** What a benchmark reads in a receipt. */
interface Receipt {
  readonly pauseMs?: number;
  readonly freeze?: { readonly windowMs: number };
  readonly timeline?: readonly { readonly event: string; readonly time: string }[];
}

/** Checkpoints of the project `default` over the API: a process for each command would hide what is measured. */
export function connectCheckpoints(address: string) {
  const { operations, vms, finish, untilVm } = connectVms(address);
  const checkpoints: CheckpointsClient = createRpcClient(CheckpointsDefinition, address);
  return {
    vms,
    operations,
    checkpoints,
    finish,
    untilVm,
    /** Takes a checkpoint and waits until it is there. */
    take: async (vm: string, type: CheckpointType, displayName = ""): Promise<Checkpoint> => {
      const { name } = await checkpoints.createCheckpoint({ parent: nameOf(vm), displayName, type });
      await finish({ name });
      const { checkpoints: all, head } = await checkpoints.listCheckpoints({ parent: nameOf(vm) });
      const taken = all.find(({ uid }) => uid === head?.parent);
      if (taken === undefined) throw new Error(`${vm} has no checkpoint after one was taken`);
      return taken as Checkpoint;
    },
  };
}

export type CheckpointApi = ReturnType<typeof connectCheckpoints>;

export const nameOf = (vm: string) => `projects/default/vms/${vm}`;

export const receiptOf = ({ receipt }: Checkpoint) => (receipt ?? {}) as Receipt;

/** Milliseconds from the freeze's reply to the thaw's, as the receipt tells them. */
export function frozenMs(checkpoint: Checkpoint): number {
  const { timeline = [] } = receiptOf(checkpoint);
  const at = (event: string) => Date.parse(timeline.find((moment) => moment.event === event)?.time ?? "");
  const ms = at("thawed") - at("frozen");
  if (Number.isNaN(ms)) throw new Error(`the receipt of ${checkpoint.name} does not tell when the guest was frozen`);
  return ms;
}
