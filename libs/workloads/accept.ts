import { StillpointError } from "#libs/errors";
import type { Operations } from "#libs/operations";
import type { Json, RecordStore, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { CheckpointCount } from "./checkpoint-count.ts";
import { notFound, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

export interface AcceptDeps<Body extends WorkloadBody> {
  readonly kind: WorkloadKind<Body>;
  readonly records: RecordStore<Body>;
  readonly operations: Pick<Operations, "accept" | "repeated">;
  /** From the leader. */
  readonly countCheckpoints: (workload: string) => Promise<CheckpointCount>;
}

export interface AskedAction {
  readonly action: string;
  readonly request: { readonly name: string; readonly requestId: string };
  readonly force?: boolean;
  /** What the job has to know beside the workload. */
  readonly input?: Json;
}

/** Accepts a job that brings a workload into another state; it holds the workload from here on. */
export async function acceptAction<Body extends WorkloadBody>(
  deps: AcceptDeps<Body>,
  call: CallScope,
  asked: AskedAction,
) {
  const { kind, records } = deps;
  const { action, request, force = false, input = {} } = asked;
  const { uid } = await findWorkload({ kind, records }, request.name);
  return deps.operations.accept<Body>(
    {
      ...accepting(kind, call, request),
      kind: `${kind.word}.${action}`,
      input: { uid, ...input },
      fingerprint: input,
    },
    {
      codec: kind.codec,
      uid,
      missingReason: kind.reasons.missing,
      expect: (stored) => refuseUnless(kind, stored, action, force),
    },
  );
}

export interface AskedRemoval {
  readonly name: string;
  readonly requestId: string;
  readonly force: boolean;
  readonly withCheckpoints: boolean;
  readonly withProtected: boolean;
}

/**
 * Accepts the removal of a workload; a repetition is given its first operation when it is gone already. Fails with its
 * kind's reasons where checkpoints, or protected ones, were not asked to go with it.
 */
export async function acceptDelete<Body extends WorkloadBody>(
  deps: AcceptDeps<Body>,
  call: CallScope,
  request: AskedRemoval,
) {
  const { kind } = deps;
  const { name, force, withCheckpoints, withProtected } = request;
  const fingerprint = { force, withCheckpoints, withProtected };
  const asked = { ...accepting(kind, call, request), kind: `${kind.word}.delete`, fingerprint };
  const stored = await deps.records.get(name);
  if (stored === undefined) {
    const first = await deps.operations.repeated(asked);
    if (first === undefined) throw notFound(kind, name);
    return first;
  }
  const { uid, state } = stored.body;
  await refuseCheckpoints(deps, request);
  return deps.operations.accept<Body>(
    { ...asked, input: { uid, before: state } },
    {
      codec: kind.codec,
      uid,
      missingReason: kind.reasons.missing,
      expect: (stored) => refuseUnless(kind, stored, "delete", force),
      change: (stored) => ({
        body: { ...stored.body, state: kind.states.deleting },
        events: [workloadEvent(kind, "deleting", stored.body)],
      }),
    },
  );
}

/** Throws the kind's reason when the action makes no sense in the state that the workload is in. */
export function refuseUnless<Body extends WorkloadBody>(
  kind: WorkloadKind<Body>,
  { name, body }: Pick<StoredRecord<Body>, "name" | "body">,
  action: string,
  force = false,
): void {
  const refused = kind.refusal(action, body.state, force);
  if (refused === undefined) return;
  throw new StillpointError(kind.reasons.state, `cannot ${action} ${name}: it ${refused.message}`, {
    help: refused.help,
    metadata: { state: body.state },
  });
}

/** What every job of a workload is accepted with. */
export function accepting<Body extends WorkloadBody>(
  kind: WorkloadKind<Body>,
  { principal, traceparent }: CallScope,
  { name, requestId }: { readonly name: string; readonly requestId: string },
) {
  return {
    target: name,
    principal: principal.name,
    project: kind.projectOf(name),
    requestId,
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

/** The workload of that name. Fails with NAME_INVALID, or with the kind's reason when there is none. */
export async function findWorkload<Body extends WorkloadBody>(
  { kind, records }: Pick<AcceptDeps<Body>, "kind" | "records">,
  name: string,
): Promise<StoredRecord<Body>> {
  kind.projectOf(name);
  const stored = await records.get(name);
  if (stored === undefined) throw notFound(kind, name);
  return stored;
}

async function refuseCheckpoints<Body extends WorkloadBody>(
  { kind, countCheckpoints }: AcceptDeps<Body>,
  { name, withCheckpoints, withProtected }: AskedRemoval,
): Promise<void> {
  const { all, guarded } = await countCheckpoints(name);
  const refuse = (reason: "hasCheckpoints" | "hasProtected", count: number, what: string) => {
    const noun = count === 1 ? "checkpoint" : "checkpoints";
    const message = `${name} has ${count} ${what}${noun}`;
    throw new StillpointError(kind.reasons[reason], message, { metadata: { count: `${count}` } });
  };
  if (all > 0 && !withCheckpoints) refuse("hasCheckpoints", all, "");
  if (guarded > 0 && !withProtected) refuse("hasProtected", guarded, "protected ");
}
