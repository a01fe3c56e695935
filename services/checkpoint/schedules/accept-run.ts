import { Schedule } from "#contracts/checkpoint/v1/schedule";
import type { Operation } from "#contracts/operation/v1/operation";
import type { Principal } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { parseScheduleName } from "#libs/names";
import type { AcceptRequest, HoldTarget, Operations } from "#libs/operations";
import type { RecordEvent, RecordStore } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { type DueDecision, graceMs } from "../domain/due.ts";
import type { RunInput } from "./run-state.ts";
import { nextFields, type StoredSchedule, scheduleEvent } from "./schedule-record.ts";

export interface AcceptRunDeps {
  readonly schedules: RecordStore<Schedule>;
  readonly operations: Pick<Operations, "accept" | "get">;
  readonly clock: Clock;
}

/** Why it runs: its time has come, or a person asked. */
export type Occasion =
  | { readonly due: DueDecision & { readonly run: Date } }
  | { readonly asked: { readonly call: CallScope; readonly requestId: string } };

/** In whose name a schedule acts. */
export const schedulePrincipal = (name: string): Principal => ({
  name: `schedule/${parseScheduleName(name).schedule}`,
  kind: "service",
});

/** Runs are jobs of their own service: they wait for checkpoints, and must not take the workers that those need. */
export const runKind = "schedule.run";

/** True while an operation runs it; a pointer to one that has ended counts as none. */
export async function isRunning({ operations }: Pick<AcceptRunDeps, "operations">, { operation }: StoredSchedule) {
  return operation !== undefined && (await operations.get(operation))?.done === false;
}

/**
 * Accepts a run. One that is due moves the schedule's next run on in the same write that takes hold of the schedule,
 * and only from the very run that was seen: whoever does so afterwards fails with RECORD_CONFLICT.
 */
export async function acceptRun(
  { operations, clock }: AcceptRunDeps,
  schedule: StoredSchedule,
  occasion: Occasion,
): Promise<Operation> {
  const { name, uid } = schedule;
  const due = "due" in occasion ? occasion.due : undefined;
  const key = due === undefined ? `asked ${clock.now().toISOString()}` : due.run.toISOString();
  const input: RunInput = { uid, key, ...(due === undefined ? {} : { due: due.run.toISOString() }) };
  const hold: HoldTarget<Schedule> = { codec: Schedule, uid, missingReason: "SCHEDULE_NOT_FOUND" };
  const request = { kind: runKind, target: name, project: parseScheduleName(name).project, input: { ...input } };
  return operations.accept<Schedule>(
    { ...request, ...callerOf(name, occasion), fingerprint: { uid } },
    due === undefined ? hold : { ...hold, expect: expectDue(schedule), change: ({ body }) => moved(body, due) },
  );
}

/** What changes with a due run, or without one when the missed are not made up for. */
export function moved(body: Schedule, due: DueDecision): { body: Schedule; events: RecordEvent[] } {
  const { missed, next, run } = due;
  const missedRuns = body.missedRuns + (missed?.count ?? 0);
  return { body: { ...body, ...nextFields(next), missedRuns }, events: missedEvents(body, missed, run) };
}

function missedEvents(
  { name, lastRun }: Schedule,
  missed: DueDecision["missed"],
  run: Date | undefined,
): RecordEvent[] {
  if (missed === undefined) return [];
  const { count, first, last } = missed;
  const ranInto = lastRun?.endTime !== undefined && lastRun.endTime.getTime() > first.getTime() + graceMs;
  const data = {
    ...{ count, first: first.toISOString(), last: last.toISOString() },
    reason: ranInto ? "run.busy" : "service.down",
    catchUp: run !== undefined,
  };
  return [scheduleEvent("missed", name, data)];
}

const expectDue =
  (seen: StoredSchedule) =>
  ({ name, body }: Pick<StoredSchedule, "name" | "body">): void => {
    const isSame = body.nextRunTime?.getTime() === seen.body.nextRunTime?.getTime() && !body.paused;
    if (!isSame) throw new StillpointError("RECORD_CONFLICT", `${name} runs at another time now`);
  };

function callerOf(name: string, occasion: Occasion): Pick<AcceptRequest, "principal" | "requestId" | "traceparent"> {
  if ("due" in occasion) return { principal: schedulePrincipal(name).name };
  const { call, requestId } = occasion.asked;
  const trace = call.traceparent === undefined ? {} : { traceparent: call.traceparent };
  return { principal: call.principal.name, requestId, ...trace };
}
