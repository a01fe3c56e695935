import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { Job, JobContext, JobOutput, Outcome } from "#libs/operations";
import type { RecordStore } from "#libs/records";
import type { HostRecords } from "../hosts/host-records.ts";
import { drainKind } from "./accept-drain.ts";
import { bringToRest, type RestDeps, type Rested } from "./workload-rest.ts";

export interface DrainDeps extends RestDeps {
  readonly records: HostRecords;
  readonly store: RecordStore<Host>;
}

/** So many workloads are stopped at once. */
const atOnce = 4;

type Answer = Rested | { readonly workload: string; readonly failed: string };

/** Brings everything on a host to rest; it takes nothing new meanwhile and after. */
export function drainJob(deps: DrainDeps): Job {
  return {
    kind: drainKind,
    steps: [{ name: "empty", run: (context) => empty(deps, context) }],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

async function empty(deps: DrainDeps, context: JobContext): Promise<JobOutput> {
  const { records, store } = deps;
  const { target } = context;
  // A placement that was decided before the host was cordoned is in the ledger once the view has caught up.
  const host = await store.get(target);
  if (host !== undefined) await records.hosts.waitFor(host.version);
  const waiting = (records.ledgers.get(ledgerName(target))?.body.reservations ?? []).map(({ workload }) => workload);
  const answers: Answer[] = [];
  const all = waiting.length;
  const work = async () => {
    for (let workload = waiting.shift(); workload !== undefined; workload = waiting.shift()) {
      refuseUncordoned(deps, target);
      answers.push(await rest(deps, context, workload));
      context.progress({ percent: (100 * answers.length) / all, message: `${answers.length} of ${all} are at rest` });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const left = answers.flatMap((answer) => ("failed" in answer ? [`${answer.workload}: ${answer.failed}`] : []));
  if (left.length > 0) {
    throw new StillpointError(
      "DRAIN_INCOMPLETE",
      `${left.length} of ${all} run on ${target}: ${left.sort().join("; ")}`,
    );
  }
  return outputOf(answers.filter((answer) => "became" in answer));
}

/** What does not answer is tried again by the step; what refuses is told in the end, and the others go on. */
async function rest(deps: DrainDeps, context: JobContext, workload: string): Promise<Answer> {
  try {
    return await bringToRest(deps, context, workload);
  } catch (error) {
    if (context.signal.aborted || !isStillpointError(error) || error.reason === "UNAVAILABLE") throw error;
    return { workload, failed: `${error.reason}: ${error.message}` };
  }
}

function refuseUncordoned({ records }: DrainDeps, target: string): void {
  if (records.hosts.get(target)?.body.draining === true) return;
  throw new StillpointError("OPERATION_CANCELLED", `${target} was uncordoned while it was drained`);
}

function outputOf(rested: readonly Rested[]): JobOutput {
  const stopped = rested.flatMap(({ workload, became }) => (became === "stopped" ? [workload] : []));
  const moved = rested.filter(({ became }) => became === "moved").map(({ became: _moved, ...told }) => told);
  const notMoved = rested.filter(({ became, why }) => became !== "moved" && why !== undefined);
  return { stopped: stopped.sort(), moved, notMoved: notMoved.map(({ workload, why }) => ({ workload, why })) };
}

async function conclude({ store }: DrainDeps, context: JobContext, outcome: Outcome): Promise<JobOutput | undefined> {
  const output = context.outputs.empty;
  const event = outcome.succeeded
    ? { aggregate: "host", happened: "drained", data: { ...output } }
    : { aggregate: "host", happened: "drain_failed", data: { reason: outcome.error.reason } };
  await store.modify(context.target, ({ body, operation }) => {
    if (operation !== context.operationId) return undefined;
    const calm = body.cordoned ? HostState.CORDONED : HostState.READY;
    const state = body.state === HostState.DOWN ? body.state : calm;
    return { body: { ...body, draining: false, state }, operation: null, events: [event] };
  });
  return outcome.succeeded ? { name: context.target, ...output } : undefined;
}
