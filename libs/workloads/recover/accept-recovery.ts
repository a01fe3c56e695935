import type { Operation } from "#contracts/operation/v1/operation";
import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { Recovery } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { operationName, parseHostName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { Json, RecordStore, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { type AcceptDeps, accepting, findWorkload, refuseUnless } from "../accept.ts";
import type { WorkloadBody } from "../kind.ts";
import { leasePaused } from "../lease-reason.ts";
import { notDown } from "./stay.ts";
import { isUnrecovered } from "./unrecovered.ts";

export interface AcceptRecoveryDeps<Body extends WorkloadBody> extends AcceptDeps<Body> {
  readonly operations: Pick<Operations, "accept" | "repeated" | "get" | "cancel">;
  readonly hosts: Pick<RecordStore<Host>, "get">;
  readonly clock: Clock;
}

interface AskedRecovery {
  readonly name: string;
  /** hosts/<host> */
  readonly host: string;
  readonly requestId: string;
}

/** What holds the workload may take so long to end by itself, with its host away. */
const graceMs = 5_000;
const lookEveryMs = 200;

/**
 * Accepts the recovery of a workload. What holds it is asked to end, and so to take back what it can; what does not end in
 * time, as its host does not answer, is superseded. A workload that is being deleted or made is left to that, and one of
 * several that are held together to the operation on all. One that could not be recovered and whose host is back is to
 * run there; then nothing that holds it makes room.
 */
export async function acceptRecovery<Body extends WorkloadBody>(
  deps: AcceptRecoveryDeps<Body>,
  call: CallScope,
  { name, host, requestId }: AskedRecovery,
): Promise<Operation> {
  const { kind, hosts } = deps;
  parseHostName(host);
  const stored = await findWorkload(deps, name);
  const input = { uid: stored.uid, from: host };
  const asked = { ...accepting(kind, call, { name, requestId }), kind: `${kind.word}.recover`, input };
  const fingerprint = { from: host };
  const first = await deps.operations.repeated({ ...asked, fingerprint });
  if (first !== undefined) return first;
  const isDown = (await hosts.get(host))?.body.state === HostState.DOWN;
  if (!isDown && !isUnrecovered(stored.body)) throw notDown(name, host);
  if (isDown) await endHolder(deps, stored, host);
  return deps.operations.accept<Body>(
    { ...asked, fingerprint },
    {
      codec: kind.codec,
      uid: stored.uid,
      missingReason: kind.reasons.missing,
      expect(held) {
        const wasToRun = isUnrecovered(held.body);
        if (held.body.host !== host || !(isDown || wasToRun)) throw notDown(name, host);
        refuseUnguarded(held);
        refuseUnless(kind, held, "recover", wasToRun || held.body.stateReason === leasePaused);
      },
      supersedes: (holder) => isDown && mayMakeRoom(holder, host),
      // Paused by its host's guard it ran as well, and is to: that is not to be forgotten if this fails.
      change: ({ body }) => ({
        body: { ...body, state: kind.states.running, stateReason: `${host} ${isDown ? whyHeld.down : whyHeld.back}` },
      }),
    },
  );
}

const whyHeld = {
  down: "is down; it is being recovered",
  back: "is back; it is looked whether it runs there",
};

/** One that no guard has paused may run on, however long nobody has heard of its host. */
function refuseUnguarded({ name, body }: Pick<StoredRecord<WorkloadBody>, "name" | "body">): void {
  if (body.spec?.recovery === Recovery.RESTART) return;
  throw new StillpointError("ARGUMENT_INVALID", `${name} is not to be recovered: it waits for its host`);
}

interface HolderOperation {
  readonly kind: string;
  readonly input: Json;
}

/** It makes or removes the workload: it ends by itself, and says what there is of it then. */
const isOwnEnd = (kind: string): boolean => /^(vm|container)\.(create|delete)$/.test(kind);
const isRecovery = (kind: string): boolean => /^(vm|container)\.recover$/.test(kind);

function mayMakeRoom({ kind, input }: HolderOperation, host: string): boolean {
  // A recovery from this very host goes on; one that had brought it here has done its part.
  if (isRecovery(kind)) return input.from !== host;
  return !isOwnEnd(kind) && !kind.startsWith("checkpoint.group-");
}

async function endHolder<Body extends WorkloadBody>(
  { operations, clock }: AcceptRecoveryDeps<Body>,
  { operation, name }: StoredRecord<Body>,
  host: string,
): Promise<void> {
  if (operation === undefined) return;
  const holder = await operations.get(operation);
  if (holder === undefined || holder.done || isRecovery(holder.kind)) return;
  if (isOwnEnd(holder.kind)) {
    const why = `${name} on ${host} is busy with ${holder.kind}: ${operationName(operation)}`;
    throw new StillpointError("TARGET_BUSY", why);
  }
  await operations.cancel(operation);
  const untilMs = clock.monotonicMs() + graceMs;
  while (clock.monotonicMs() < untilMs && (await operations.get(operation))?.done === false) {
    await clock.sleep(lookEveryMs, new AbortController().signal);
  }
}
