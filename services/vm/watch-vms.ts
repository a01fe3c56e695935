import { WatchVmsResponse_Kind as Kind, Vm, type WatchVmsResponse } from "#contracts/vm/v1/vm";
import type { RecordView, ViewChange } from "#libs/records";
import type { ShowVm } from "./vm-record.ts";

const kinds = {
  current: Kind.CURRENT,
  synced: Kind.SYNCED,
  changed: Kind.CHANGED,
  deleted: Kind.DELETED,
  bookmark: Kind.BOOKMARK,
} as const;

interface WatchOptions {
  readonly prefix: string;
  readonly since: number;
  readonly signal: AbortSignal;
  readonly show: ShowVm;
}

/** The VMs under a prefix, then what happens to them. `since` 0 begins with a snapshot. */
export async function* watchVms(
  view: RecordView<Vm>,
  { prefix, since, signal, show }: WatchOptions,
): AsyncGenerator<WatchVmsResponse> {
  for await (const change of view.watch({ prefix, signal, ...(since === 0 ? {} : { since }) })) {
    yield { kind: kinds[change.kind], vm: vmIn(change, show), token: change.token };
  }
}

function vmIn(change: ViewChange<Vm>, show: ShowVm): Vm | undefined {
  if (!("record" in change)) return undefined;
  const { record } = change;
  return change.kind === "deleted" ? Vm.fromPartial({ name: record.name, uid: record.uid }) : show(record);
}
