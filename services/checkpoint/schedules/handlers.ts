import type {
  CreateScheduleRequest,
  PreviewRetentionRequest,
  PreviewRetentionResponse,
  Schedule,
  SchedulesServiceImplementation,
} from "#contracts/checkpoint/v1/schedule";
import { authorise } from "#libs/auth";
import { isStillpointError, StillpointError } from "#libs/errors";
import { operationName, parseProject, scheduleName } from "#libs/names";
import { createOnce, type RecordView } from "#libs/records";
import { type CallScope, callUid, removedOnce } from "#libs/rpc";
import type { CheckpointStore } from "../records/checkpoint-store.ts";
import { type AcceptRunDeps, acceptRun, isRunning } from "./accept-run.ts";
import { checkRetention, checkSchedule } from "./check-schedule.ts";
import { judge } from "./judge.ts";
import { findSchedule, nextRun, rulesOf, scheduleEvent, toApi } from "./schedule-record.ts";
import { type SelectDeps, selectVms } from "./select-vms.ts";
import { updateSchedule } from "./update.ts";

export interface ScheduleDeps extends AcceptRunDeps, SelectDeps {
  readonly store: CheckpointStore;
  readonly view: RecordView<Schedule>;
}

/** Makes, shows and changes schedules, and accepts a run that is asked for. */
export function schedulesHandlers(deps: ScheduleDeps): SchedulesServiceImplementation<CallScope> {
  const { schedules, view } = deps;
  return {
    async createSchedule(request, call) {
      authorise(call.principal, "create", request.parent);
      return createSchedule(deps, request, call);
    },

    async getSchedule({ name }, { principal }) {
      authorise(principal, "get", name);
      return toApi(await findSchedule(schedules, name));
    },

    async listSchedules({ parent }, { principal, signal }) {
      authorise(principal, "list", parent);
      parseProject(parent);
      await view.catchUp(signal);
      return { schedules: view.list(`${parent}/schedules/`).map(toApi) };
    },

    async updateSchedule(request, { principal }) {
      authorise(principal, "update", request.schedule?.name ?? "");
      return toApi(await updateSchedule(deps, request));
    },

    async deleteSchedule({ name }, call) {
      authorise(call.principal, "delete", name);
      await removedOnce(call, "SCHEDULE_NOT_FOUND", () => deleteSchedule(deps, name));
      return {};
    },

    async runSchedule({ name, requestId }, call) {
      authorise(call.principal, "update", name);
      return acceptRun(deps, await findSchedule(schedules, name), { asked: { call, requestId } });
    },

    async previewRetention(request, { principal }) {
      authorise(principal, "get", request.name);
      return previewRetention(deps, request);
    },
  };
}

async function createSchedule(
  deps: ScheduleDeps,
  { parent, scheduleId, schedule }: CreateScheduleRequest,
  call: CallScope,
) {
  const { clock, schedules, view } = deps;
  const name = scheduleName(parseProject(parent), scheduleId);
  if (schedule === undefined) throw new StillpointError("ARGUMENT_INVALID", "schedule is missing");
  const now = clock.now();
  const written = { ...schedule, name, uid: callUid("sched", call, name), createTime: now };
  checkSchedule(written, now);
  // Given by the server alone.
  const own = { lastRun: undefined, missedRuns: 0, upcoming: [], operation: "", updateTime: undefined, version: 0 };
  const body = { ...written, ...own, ...nextRun(written, now) };
  try {
    const stored = await createOnce(schedules, name, { uid: body.uid, body, events: [scheduleEvent("created", name)] });
    await view.waitFor(stored.version);
    return toApi(stored);
  } catch (cause) {
    if (!isStillpointError(cause, "RECORD_CONFLICT")) throw cause;
    throw new StillpointError("SCHEDULE_EXISTS", `there is a schedule ${name} already`, { cause });
  }
}

/** What is being run is not taken away from under its run. */
async function deleteSchedule(deps: ScheduleDeps, name: string): Promise<void> {
  const stored = await findSchedule(deps.schedules, name);
  if (await isRunning(deps, stored)) {
    const operation = operationName(stored.operation ?? "");
    throw new StillpointError("TARGET_BUSY", `${name} is running: ${operation}`, { metadata: { operation } });
  }
  await deps.schedules.remove(stored, [scheduleEvent("deleted", name)]);
}

async function previewRetention(
  deps: ScheduleDeps,
  { name, retention }: PreviewRetentionRequest,
): Promise<PreviewRetentionResponse> {
  const { body } = await findSchedule(deps.schedules, name);
  const rules = rulesOf(retention ?? body.retention);
  checkRetention(rules);
  const vms = await selectVms(deps, body);
  const previews = vms.map(async (vm) => {
    const verdicts = await judge(deps.store, { vm, schedule: body, rules });
    const decisions = verdicts.map(({ candidate, keptBy }) => ({
      checkpoint: candidate.record.name,
      displayName: candidate.record.body.displayName,
      createTime: candidate.time,
      delete: keptBy.length === 0,
      keptBy: [...keptBy],
    }));
    return { vm: vm.name, decisions };
  });
  return { vms: await Promise.all(previews) };
}
