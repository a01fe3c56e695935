import { type Schedule, ScheduleAction, ScheduleRun } from "#contracts/checkpoint/v1/schedule";
import { operationName } from "#libs/names";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { RecordEvent, RecordStore } from "#libs/records";
import { expired } from "../domain/retention.ts";
import type { Workload } from "../records/checkpoint-store.ts";
import { runKind } from "./accept-run.ts";
import { type ActDeps, deleteExpired, takeCheckpoint } from "./act-on-vm.ts";
import { eachVm } from "./each-vm.ts";
import { judge } from "./judge.ts";
import { drillNewest, pushTaken } from "./prove-and-push.ts";
import { type Planned, planned, type RunInput, resultsOf, selected, taken } from "./run-state.ts";
import { findSchedule, rulesOf, scheduleEvent } from "./schedule-record.ts";
import { type SelectDeps, selectVms } from "./select-vms.ts";

export interface RunJobDeps extends ActDeps, SelectDeps {
  readonly schedules: RecordStore<Schedule>;
}

type Context = JobContext<RunInput>;

/**
 * One run of a schedule: a checkpoint of each of its VMs, then retention. What fails on one VM is told and does not
 * stop the others. The checkpoints and deletions are operations of their own, by the same way as anybody's; they are
 * found again after a crash and go on when this one is cancelled.
 */
export function runJob(deps: RunJobDeps): Job<RunInput> {
  return {
    kind: runKind,
    steps: [selectStep, takeStep, pushStep, drillStep, planStep, deleteStep].map((step) => step(deps)),
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** What this run is for, whatever is changed of its schedule meanwhile. */
function selectStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "select",
    async run({ target }) {
      const { body } = await findSchedule(deps.schedules, target);
      const vms = await selectVms(deps, body);
      const { checkpointType, excludeDisks, push } = body;
      const isDrill = body.action === ScheduleAction.DRILL;
      return { vms, checkpointType, excludeDisks, push, isDrill, startTime: deps.clock.now().toISOString() };
    },
  };
}

function takeStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "take",
    skip: ({ outputs }) => selected(outputs).isDrill === true,
    async run(context) {
      const { vms, checkpointType, excludeDisks } = selected(context.outputs);
      const done = await eachVm(vms, context, (vm) =>
        takeCheckpoint(deps, { ...actOn(context, vm), checkpointType, excludeDisks, signal: context.signal }),
      );
      return { done };
    },
  };
}

function pushStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "push",
    skip: ({ outputs }) => (selected(outputs).push ?? "") === "" || taken(outputs).size === 0,
    async run(context) {
      const { vms, push: reference = "" } = selected(context.outputs);
      const checkpoints = taken(context.outputs);
      const done = await eachVm(vms, context, (vm) =>
        pushTaken(deps, {
          ...actOn(context, vm),
          checkpoint: checkpoints.get(vm.name),
          reference,
          signal: context.signal,
        }),
      );
      return { done };
    },
  };
}

function drillStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "drill",
    skip: ({ outputs }) => selected(outputs).isDrill !== true,
    async run(context) {
      const { signal, outputs } = context;
      return {
        done: await eachVm(selected(outputs).vms, context, (vm) =>
          drillNewest(deps, { ...actOn(context, vm), signal }),
        ),
      };
    },
  };
}

/** Names what goes before anything goes, so that a repetition tells of all of it. */
function planStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "plan",
    skip: ({ outputs }) => selected(outputs).isDrill === true,
    async run({ target, outputs }) {
      const { body } = await findSchedule(deps.schedules, target);
      const rules = rulesOf(body.retention);
      const plans: Planned[] = [];
      for (const vm of selected(outputs).vms) {
        const verdicts = await judge(deps.store, { vm, schedule: body, rules });
        plans.push({ vm, checkpoints: expired(verdicts).map(({ record }) => record.name) });
      }
      return { plans };
    },
  };
}

function deleteStep(deps: RunJobDeps): Step<RunInput> {
  return {
    name: "delete",
    skip: ({ outputs }) => planned(outputs).every(({ checkpoints }) => checkpoints.length === 0),
    async run(context) {
      const plans = new Map(planned(context.outputs).map(({ vm, checkpoints }) => [vm.name, checkpoints]));
      const done = await eachVm(selected(context.outputs).vms, context, (vm) =>
        deleteExpired(deps, { ...actOn(context, vm), checkpoints: plans.get(vm.name) ?? [], signal: context.signal }),
      );
      return { done };
    },
  };
}

const actOn = ({ target, input }: Context, vm: Workload) => ({
  schedule: target,
  vm,
  key: `${input.uid} ${input.key} ${vm.uid}`,
});

/** Writes what came of it, and frees the schedule; leaves it alone when another operation holds it. */
async function conclude(
  { schedules, clock }: RunJobDeps,
  context: Context,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  const run = ScheduleRun.fromPartial({
    operation: operationName(context.operationId),
    ...(context.input.due === undefined ? {} : { dueTime: new Date(context.input.due) }),
    startTime: new Date(selected(context.outputs).startTime ?? clock.now()),
    endTime: clock.now(),
    results: resultsOf(context.outputs),
  });
  const events = eventsOf(context.target, run, outcome);
  await schedules.modify(context.target, ({ body, operation }) =>
    operation === context.operationId ? { body: { ...body, lastRun: run }, operation: null, events } : undefined,
  );
  return ScheduleRun.toJSON(run) as JobOutput;
}

function eventsOf(name: string, run: ScheduleRun, outcome: Outcome): RecordEvent[] {
  const failed = run.results.filter(({ failures }) => failures.length > 0);
  const facts = { ...(ScheduleRun.toJSON(run) as JobOutput), vms: run.results.length, failedVms: failed.length };
  const ran = scheduleEvent("ran", name, facts);
  if (outcome.succeeded) return failed.length === 0 ? [ran] : [ran, scheduleEvent("run_failed", name, facts)];
  const { reason, message } = outcome.error;
  return [scheduleEvent("run_failed", name, { ...facts, reason, message })];
}
