import type { RecordView, StoredRecord, ViewChange } from "#libs/records";
import type { WorkloadBody, WorkloadKind } from "./kind.ts";

/** The words are the same in the API of each kind. */
const kinds = {
  current: "KIND_CURRENT",
  synced: "KIND_SYNCED",
  changed: "KIND_CHANGED",
  deleted: "KIND_DELETED",
  bookmark: "KIND_BOOKMARK",
} as const;

export interface WatchOptions<Body> {
  readonly prefix: string;
  /** 0 begins with a snapshot. */
  readonly since: number;
  readonly signal: AbortSignal;
  readonly show: (stored: StoredRecord<Body>) => Body;
}

export interface WatchedChange<Body> {
  readonly kind: (typeof kinds)[keyof typeof kinds];
  /** Absent for SYNCED and BOOKMARK; for DELETED only its name and uid. */
  readonly workload: Body | undefined;
  readonly token: number;
}

/** The workloads under a prefix, then what happens to them. */
export async function* watchWorkloads<Body extends WorkloadBody>(
  { codec }: Pick<WorkloadKind<Body>, "codec">,
  view: RecordView<Body>,
  { prefix, since, signal, show }: WatchOptions<Body>,
): AsyncGenerator<WatchedChange<Body>> {
  const shown = (change: ViewChange<Body>): Body | undefined => {
    if (!("record" in change)) return undefined;
    const { name, uid } = change.record;
    return change.kind === "deleted" ? codec.fromJSON({ name, uid }) : show(change.record);
  };
  for await (const change of view.watch({ prefix, signal, ...(since === 0 ? {} : { since }) })) {
    yield { kind: kinds[change.kind], workload: shown(change), token: change.token };
  }
}
