import { Retention } from "#contracts/checkpoint/v1/schedule";
import { isStillpointError } from "#libs/errors";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { checkpointsOf, type Stage, subject } from "./stage.ts";

const parent = "projects/default";
const scheduleId = "keep-one";
const name = `${parent}/schedules/${scheduleId}`;

/** A run takes one checkpoint and deletes the one of the run before, each once, whatever is killed. */
export const scheduling: Scenario = {
  async prepare(stage) {
    await stage.reset();
    const retention = Retention.fromPartial({ keepLast: 1 });
    // It runs only when it is asked to.
    const schedule = { cron: "0 0 29 2 *", vm: subject, retention, paused: true };
    await stage.cluster.api.schedules.createSchedule({ parent, scheduleId, schedule }).catch((error: unknown) => {
      if (!isStillpointError(error, "SCHEDULE_EXISTS")) throw error;
    });
    if ((await takenBySchedule(stage)).length === 0) await scheduling.act(stage);
  },
  async act(stage) {
    const [before = ""] = await takenBySchedule(stage);
    await carryThrough(stage.cluster, (requestId) => stage.cluster.api.schedules.runSchedule({ name, requestId }));
    return before;
  },
  async verify(stage, before) {
    const left = await takenBySchedule(stage);
    if (left.length !== 1 || left[0] === before) throw new Error(`of the runs before and now are left: ${left.join()}`);
    const { lastRun, operation } = await untilAnswered(() => stage.cluster.api.schedules.getSchedule({ name }));
    if (operation !== "") throw new Error(`${name} is still held by ${operation}`);
    const told = lastRun?.results.map(({ checkpoint, deleted, failures }) => ({ checkpoint, deleted, failures }));
    const wanted = JSON.stringify([{ checkpoint: left[0], deleted: [before], failures: [] }]);
    if (JSON.stringify(told) !== wanted) throw new Error(`the run tells ${JSON.stringify(told)} and not ${wanted}`);
  },
};

async function takenBySchedule({ cluster }: Stage): Promise<string[]> {
  return (await checkpointsOf(cluster, subject)).filter(({ schedule }) => schedule === name).map((it) => it.name);
}
