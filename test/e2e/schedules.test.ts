import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, isLong } from "#libs/testing";
import { agentReady, importImage } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

interface Checkpoint {
  readonly uid: string;
  readonly name: string;
  readonly displayName: string;
  readonly kind: string;
  readonly schedule?: string;
}
interface Schedule {
  readonly nextRunTime?: string;
  readonly missedRuns?: string;
  readonly lastRun?: { readonly dueTime?: string; readonly results: readonly Result[] };
}
interface Result {
  readonly checkpoint: string;
  readonly deleted?: readonly string[];
  readonly failures?: readonly unknown[];
}

const minuteMs = 60_000;
/** How late a run is still on time. */
const graceMs = 30_000;

/** Schedules on a real guest, through the command line; each part goes on from the one before. */
describe("schedules", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    const made = ["--image", "linux:1", "--memory", "256MiB", "--label", "tier=web", "--start"];
    await product.json("vm", "create", "web-1", ...made);
    // It has its own schedule, and nobody else takes anything of it: a run may come at any time.
    await product.json("vm", "create", "web-2", "--image", "linux:1", "--memory", "256MiB");
    await agentReady(product, "web-1");
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const exec = (...command: string[]) => guestApplication(product, "web-1").exec(...command);
  const checkpoints = async (vm: string) => {
    const listed = (await product.json("checkpoint", "list", vm)) as { checkpoints?: Checkpoint[] };
    return listed.checkpoints ?? [];
  };
  const scheduleOf = async (name: string) => (await product.json("schedule", "get", name)) as Schedule;
  const takenBy = async (schedule: string, vm = "web-1") =>
    (await checkpoints(vm)).filter((each) => each.schedule?.endsWith(`/${schedule}`)).map(({ name }) => name);
  /** Runs it now and gives the checkpoint that was taken, and what was deleted. */
  const run = async (schedule: string): Promise<Result> => {
    const { output } = (await product.json("schedule", "run", schedule)) as { output: { results: Result[] } };
    const [result] = output.results;
    if (result === undefined || output.results.length > 1) throw new Error(`ran for ${output.results.length} VMs`);
    return result;
  };

  let first = "";
  test("the next times are told when one is made", async () => {
    const { stdout } = await product.stillpoint("schedule", "create", "often", "--vm", "web-2", "--cron", "* * * * *");
    expect(stdout).toMatch(/^Schedule often is made\.\nIt runs next at:\n( {2}[\d-]+ [\d:]+:00 UTC\n){3}$/);
    const { nextRunTime = "", lastRun } = await scheduleOf("often");
    first = lastRun?.dueTime ?? nextRunTime;
  });

  test("retention deletes what no rule keeps, and neither what is protected nor what others took", async () => {
    await product.json("checkpoint", "create", "web-1", "--name", "mine", "--type", "standard");
    const rules = ["--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "--keep-last", "2"];
    await product.json("schedule", "create", "nightly", "--label", "tier=web", ...rules);
    await exec("sh", "-c", "echo one >>/data/words; sync");
    const first = await run("nightly");
    await product.json("checkpoint", "protect", "web-1", first.checkpoint.split("/").at(-1) ?? "");
    await exec("sh", "-c", "echo two >>/data/words; sync");
    const second = await run("nightly");
    const third = await run("nightly");
    expect([first, second, third].flatMap(({ deleted = [] }) => deleted)).toEqual([]);
    const { stdout } = await product.stillpoint("schedule", "preview", "nightly", "--keep-last", "1");
    expect(stdout.split("\n").filter((line) => line.startsWith("web-1"))).toEqual([
      expect.stringMatching(/keep +keep-last$/),
      expect.stringMatching(/delete$/),
      expect.stringMatching(/keep +protected$/),
    ]);
    const fourth = await run("nightly");
    expect(fourth.deleted).toEqual([second.checkpoint]);
    expect(await takenBy("nightly")).toEqual([first, third, fourth].map(({ checkpoint }) => checkpoint));
    expect((await checkpoints("web-1")).map(({ displayName }) => displayName)).toContain("mine");
    expect(await exec("cat", "/data/words")).toBe("one\ntwo");
  });

  test("what was merged away is still in what stands on it", async () => {
    const [, third = ""] = await takenBy("nightly");
    await exec("sh", "-c", "rm /data/words; sync");
    await product.json("checkpoint", "apply", "web-1", third.split("/").at(-1) ?? "", "--yes");
    await product.json("vm", "start", "web-1");
    await agentReady(product, "web-1");
    expect(await exec("cat", "/data/words")).toBe("one\ntwo");
  });

  test("what is taken is pushed where that is asked for, and a drill by schedule proves the newest", async () => {
    await product.json(
      "schedule",
      "create",
      "pushing",
      "--vm",
      "web-1",
      "--cron",
      "0 4 * * *",
      "--push",
      "backups/web",
    );
    const { checkpoint, failures = [] } = await run("pushing");
    expect(failures).toEqual([]);
    const get = () => product.json("checkpoint", "get", "web-1", checkpoint.split("/").at(-1) ?? "");
    expect(await get()).toMatchObject({ pushed: [{ reference: expect.stringMatching(/^backups\/web:/) }] });
    await product.json("schedule", "create", "proving", "--vm", "web-1", "--cron", "0 5 * * *", "--action", "drill");
    expect(await run("proving")).toMatchObject({ proven: checkpoint });
    expect(await get()).toMatchObject({ provenTime: expect.any(String) });
    expect(await takenBy("proving")).toEqual([]);
  });

  test("one that is due runs by itself", async () => {
    const { lastRun } = await eventually(
      async () => {
        const schedule = await scheduleOf("often");
        return schedule.lastRun !== undefined && schedule;
      },
      { deadlineMs: minuteMs + 30_000, everyMs: 500 },
    );
    await product.json("schedule", "pause", "often");
    expect((Date.parse(lastRun?.dueTime ?? "") - Date.parse(first)) % minuteMs).toBe(0);
    const taken = (await checkpoints("web-2")).find(({ name }) => name === lastRun?.results[0]?.checkpoint);
    const schedule = "projects/default/schedules/often";
    expect(taken).toMatchObject({ kind: "CHECKPOINT_KIND_PRODUCTION", schedule });
  });

  test.runIf(isLong)("runs that were missed while nobody was there are told, and made up for by one", async () => {
    await product.json("schedule", "set", "often", "--keep-last", "1");
    await product.json("schedule", "resume", "often");
    const before = await scheduleOf("often");
    await product.kill();
    const due = Date.parse(before.nextRunTime ?? "");
    const isOver = () => Date.now() > due + graceMs + 1_000;
    await eventually(isOver, { deadlineMs: minuteMs + graceMs + 5_000, everyMs: 500 });
    await product.restart();
    const after = await eventually(
      async () => {
        const schedule = await scheduleOf("often");
        return (schedule.lastRun?.dueTime ?? "") > (before.lastRun?.dueTime ?? "") && schedule;
      },
      { deadlineMs: 30_000, everyMs: 500 },
    );
    await product.json("schedule", "pause", "often");
    expect(Number(after.missedRuns)).toBeGreaterThanOrEqual(1);
    const { stdout } = await product.stillpoint("events", "-o", "json", "--filter", "evt.schedule.>");
    const events = stdout.split("\n").filter((line) => line.includes("schedule.v1.missed"));
    expect(events).toHaveLength(1);
    expect(events[0]).toContain('"reason":"service.down"');
    // The guest ran on, and the one from before went by the rule.
    expect(await takenBy("often", "web-2")).toEqual([after.lastRun?.results[0]?.checkpoint]);
    expect(await exec("cat", "/data/words")).toBe("one\ntwo");
  });

  test("a wrong expression is told with its place; what is made no more is gone", async () => {
    const wrong = await product.stillpoint("schedule", "create", "bad", "--vm", "web-1", "--cron", "0 25 * * *");
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("wrong at character 3: field 2 (hour)") });
    await product.json("schedule", "delete", "nightly");
    const { stdout } = await product.stillpoint("schedule", "list");
    expect(stdout).toMatch(/^often +web-2 +\* \* \* \* \* +paused/m);
    expect(stdout).not.toContain("nightly");
  });
});
