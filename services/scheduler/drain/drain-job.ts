import { type Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { Job, JobContext, JobOutput, Outcome } from "#libs/operations";
import type { RecordStore } from "#libs/records";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import { drainKind } from "./accept-drain.ts";
import { bringToRest, type RestDeps, type Rested } from "./workload-rest.ts";

export interface DrainDeps extends RestDeps {
  readonly records: HostRecords;
  readonly store: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
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
  const { target } = context;
  const answers = new Map<string, Answer>();
  // What was decided before the host was cordoned may come late: it is done when nothing new has come.
  for (let waiting = await newOn(deps, target, answers); waiting.length > 0; ) {
    const all = answers.size + waiting.length;
    const work = async () => {
      for (let workload = waiting.shift(); workload !== undefined; workload = waiting.shift()) {
        await refuseUncordoned(deps, target);
        answers.set(workload, await rest(deps, context, workload));
        const message = `${answers.size} of ${all} are at rest`;
        context.progress({ percent: (100 * answers.size) / all, message });
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    waiting = await newOn(deps, target, answers);
  }
  return outcomeOf(target, [...answers.values()]);
}

/** The workloads on the host, as the log has it, that nothing was done about. */
async function newOn({ ledgers }: DrainDeps, host: string, answers: ReadonlyMap<string, Answer>): Promise<string[]> {
  const reservations = (await ledgers.get(ledgerName(host)))?.body.reservations ?? [];
  return reservations.map(({ workload }) => workload).filter((workload) => !answers.has(workload));
}

/** Fails with DRAIN_INCOMPLETE when something runs on. */
function outcomeOf(host: string, answers: readonly Answer[]): JobOutput {
  const left = answers.flatMap((answer) => ("failed" in answer ? [`${answer.workload}: ${answer.failed}`] : []));
  if (left.length === 0) return outputOf(answers.filter((answer) => "became" in answer));
  const told = left.sort().join("; ");
  throw new StillpointError("DRAIN_INCOMPLETE", `${left.length} of ${answers.length} run on ${host}: ${told}`);
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

/** The view may not have heard yet that the drain has begun: that it is over is believed of the log alone. */
async function refuseUncordoned({ records, store }: DrainDeps, target: string): Promise<void> {
  if (records.hosts.get(target)?.body.draining === true) return;
  if ((await store.get(target))?.body.draining === true) return;
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
  const event = { aggregate: "host", ...endOf(outcome, output) };
  await store.modify(context.target, ({ body, operation }) => {
    if (operation !== context.operationId) return undefined;
    const calm = body.cordoned ? HostState.CORDONED : HostState.READY;
    const state = body.state === HostState.DOWN ? body.state : calm;
    return { body: { ...body, draining: false, state }, operation: null, events: [event] };
  });
  return outcome.succeeded ? { name: context.target, ...output } : undefined;
}

/** One that was cancelled leaves what it has stopped and moved as it is, and the host cordoned. */
function endOf(outcome: Outcome, output: JobOutput | undefined) {
  if (outcome.succeeded) return { happened: "drained", data: { ...output } };
  const { reason } = outcome.error;
  return { happened: reason === "OPERATION_CANCELLED" ? "drain_cancelled" : "drain_failed", data: { reason } };
}
