import type { DiscardQuarantinedRequest } from "#contracts/operation/v1/admin";
import { StillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { Job, JobContext, Operations, Outcome } from "#libs/operations";
import type { Json, RecordStore, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { hostOf } from "./known.ts";

export interface DiscardDeps {
  readonly store: RecordStore<Json>;
  readonly agents: Pick<HostAgents, "runStep">;
}

interface DiscardInput {
  readonly host: string;
  readonly uid: string;
}

const kind = "operation.discard";

/** Accepts the deletion of what stands for no record. @throws StillpointError QUARANTINE_NOT_FOUND, QUARANTINE_OVER */
export async function acceptDiscard(
  { store, operations }: { readonly store: RecordStore<Json>; readonly operations: Pick<Operations, "accept"> },
  { name, requestId }: DiscardQuarantinedRequest,
  { principal, traceparent }: CallScope,
) {
  const [host, uid] = name.split("/quarantine/");
  if (!/^hosts\/[^/]+\/quarantine\/[^/]+$/.test(name) || host === undefined || uid === undefined) {
    throw new StillpointError("NAME_INVALID", `"${name}" is not of the form hosts/<host>/quarantine/<uid>`);
  }
  const aside = await store.get(name);
  const { workload } = aside?.body ?? {};
  const record = typeof workload === "string" ? await store.get(workload) : undefined;
  if (record?.uid === uid && hostOf(record.body) === host) {
    throw new StillpointError("QUARANTINE_OVER", `${record.name} stands for it by now`);
  }
  const asked = { kind, target: name, input: { host, uid }, principal: principal.name, project: "", requestId };
  return operations.accept<Json>(
    { ...asked, ...(traceparent === undefined ? {} : { traceparent }) },
    { uid, missingReason: "QUARANTINE_NOT_FOUND" },
  );
}

/** Removes every file of it on its host, and then the record that tells of it: the ledger's place goes with that. */
export function discardJob(deps: DiscardDeps): Job<DiscardInput> {
  return {
    kind,
    steps: [
      {
        name: "destroy",
        async run(context) {
          const isContainer = context.input.uid.startsWith("ctr-");
          const action = { $case: isContainer ? "deleteContainer" : "deleteVm", value: {} } as const;
          await deps.agents.runStep(context, context.input, "destroy", action);
          return undefined;
        },
      },
    ],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

async function conclude({ store }: DiscardDeps, context: JobContext<DiscardInput>, outcome: Outcome) {
  const { target, operationId, input } = context;
  const stored: StoredRecord<Json> | undefined = await store.get(target);
  if (stored === undefined || stored.operation !== operationId) return undefined;
  const { uid, host } = input;
  const aggregate = uid.startsWith("ctr-") ? "container" : "vm";
  const event = { aggregate, happened: "discarded", data: { uid, host, workload: stored.body.workload } };
  if (outcome.succeeded) await store.remove(stored, [event]);
  else await store.update(stored, { operation: null });
  return undefined;
}
