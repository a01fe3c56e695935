import type { Vm, VmState } from "#contracts/vm/v1/vm";
import type { RecordView } from "#libs/records";
import { isContainerName } from "../records/workload-record.ts";

interface Limits {
  readonly withinMs: number;
  readonly signal: AbortSignal;
}

interface Views {
  readonly vmView: Pick<RecordView<Vm>, "watch">;
  readonly containerView: Pick<RecordView<Vm>, "watch">;
}

/** Where the record of that VM or container is watched. */
export const viewOf = ({ vmView, containerView }: Views, name: string) =>
  isContainerName(name) ? containerView : vmView;

/** Resolves true when the VM's record is in that state, false when it is not in time or gone. */
export async function vmReaches(
  view: Pick<RecordView<Vm>, "watch">,
  name: string,
  state: VmState,
  { withinMs, signal }: Limits,
): Promise<boolean> {
  const timeout = AbortSignal.timeout(withinMs);
  const watch = view.watch({ prefix: name, signal: AbortSignal.any([signal, timeout]) });
  for await (const change of watch) {
    if (!("record" in change) || change.record.name !== name) continue;
    if (change.kind === "deleted") return false;
    if (change.record.body.state === state) return true;
  }
  signal.throwIfAborted();
  return false;
}
