import { afterAll, beforeAll, expect, test } from "vitest";
import { dockerEngine, type TestEngine } from "#libs/testing";
import { type Product, startTestProduct } from "../harness/product.ts";
import { busyboxImage, pushImage } from "../images/build.ts";

let engine: TestEngine;
let product: Product;

beforeAll(async () => {
  engine = await dockerEngine();
  product = await startTestProduct({ AGENT_DOCKER_HOST: `unix://${engine.socketPath}` });
  await pushImage(engine, await busyboxImage(engine), new URL(product.registryUrl).host, "busybox");
}, 180_000);

afterAll(async () => {
  await product?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});

async function stillpoint(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await product.stillpoint(...args);
  if (code !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  return stdout;
}

const run = (name: string, ...options: string[]) =>
  stillpoint("container", "run", name, "--image", "busybox", ...options, "--", "sleep", "1000");
const shell = (name: string, script: string) => stillpoint("container", "exec", name, "--", "sh", "-c", script);
/** How often it stood still, as its events tell. */
const pauses = async (name: string) => {
  const { stdout } = await product.stillpoint("events", "--filter", "evt.container.v1.paused.>", "-o", "json");
  return stdout.split("\n").filter((line) => line.includes(`containers/${name}"`));
};
const receipt = async (name: string, checkpoint: string) =>
  (await product.json("checkpoint", "receipt", `container/${name}`, checkpoint)) as Record<string, unknown>;

test("a container is checkpointed, brought back twice and cleaned up from the command line", async () => {
  await run("web", "--volume", "data:/data", "--volume", "tmp:/scratch:exclude", "--quiesce", "echo ready; cat >&2");
  await shell("web", "echo one >/data/a; echo one >/root-file; echo one >/scratch/a");
  expect(await stillpoint("checkpoint", "check", "container/web")).toMatch(
    /^A checkpoint now: production \(application consistent\)\.[\s\S]*Engine: +docker \d[\s\S]*Quiesce command: \S*sh\n[\s\S]*criu\.absent/,
  );
  await stillpoint("checkpoint", "create", "container/web", "--name", "first");
  expect(await receipt("web", "first")).toMatchObject({
    workload: "projects/default/containers/web",
    ...{ kind: "production", consistency: "application", requestedType: "production", fellBack: false, reason: "" },
    pauseMs: expect.any(Number),
    disks: [{ id: "root" }, { id: "data", included: true }, { id: "tmp", included: false }],
  });
  await shell("web", "echo two >/data/a; rm /root-file; echo two >/scratch/a");
  const lost = ["--checkpoint-first", "second", "--yes"];
  await stillpoint("checkpoint", "apply", "container/web", "first", ...lost);
  expect(await product.json("container", "get", "web")).toMatchObject({ state: "CONTAINER_STATE_STOPPED" });
  await stillpoint("container", "start", "web");
  expect(await shell("web", "cat /data/a /root-file /scratch/a")).toBe("one\none\ntwo\n");
  await stillpoint("checkpoint", "apply", "container/web", "second", "--yes");
  expect(await stillpoint("checkpoint", "tree", "container/web")).toMatch(/first[\s\S]*second/);
  await stillpoint("checkpoint", "create", "container/web", "--name", "still");
  expect(await receipt("web", "still")).toMatchObject({ consistency: "offline" });
  await stillpoint("container", "start", "web");
  expect(await shell("web", "cat /data/a; ls /root-file 2>/dev/null || true")).toBe("two\n");
  await stillpoint("checkpoint", "delete", "container/web", "first");
  await stillpoint("checkpoint", "rename", "container/web", "second", "2nd");
  await expect(stillpoint("container", "delete", "web", "--force")).rejects.toThrow(/checkpoints/);
  await stillpoint("container", "delete", "web", "--force", "--with-checkpoints");
}, 120_000);

test("schedules take checkpoints of containers by name and by label, and retention deletes them", async () => {
  for (const name of ["left", "right"]) await run(name, "--volume", "data:/data", "--label", "tier=store");
  const never = ["--cron", "0 3 1 1 *"];
  await stillpoint("schedule", "create", "one", "--container", "left", "--keep-last", "1", ...never);
  await stillpoint("schedule", "create", "all", "--label", "tier=store", ...never);
  const list = async (name: string) =>
    ((await product.json("checkpoint", "list", `container/${name}`)) as { checkpoints?: unknown[] }).checkpoints ?? [];
  const taken = /^container\/left: checkpoint \S+ taken/;
  expect(await stillpoint("schedule", "run", "one")).toMatch(taken);
  expect(await stillpoint("schedule", "run", "one")).toMatch(/, 1 old one deleted/);
  expect(await stillpoint("schedule", "run", "all")).toMatch(/^container\/left: .* taken\ncontainer\/right: .* taken/);
  expect([(await list("left")).length, (await list("right")).length]).toEqual([2, 1]);
  expect(await stillpoint("schedule", "preview", "one", "--keep-last", "0")).toMatch(/container\/left/);
  for (const name of ["one", "all"]) await stillpoint("schedule", "delete", name);
  for (const name of ["left", "right"]) await stillpoint("container", "delete", name, "--force", "--with-checkpoints");
}, 60_000);

test("a drill tries a checkpoint in a container of its own that reaches nothing, and leaves none", async () => {
  const health = ["--health-cmd", "test -s /data/word", "--health-interval", "1s"];
  await run("tried", "--volume", "data:/data", "--label", "drill=yes", ...health);
  await shell("tried", "echo proof >/data/word");
  await stillpoint("checkpoint", "create", "container/tried", "--name", "good");
  await shell("tried", "rm /data/word");
  await stillpoint("checkpoint", "create", "container/tried", "--name", "bad");
  const alone = '[ "$(ls /sys/class/net)" = lo ] && cat /data/word && echo spoilt >/data/word';
  const drill = (name: string) => product.stillpoint("checkpoint", "drill", "container/tried", name, "--timeout", "60");
  await stillpoint("checkpoint", "drill", "container/tried", "good", "--", "sh", "-c", alone);
  expect(await product.json("checkpoint", "get", "container/tried", "good")).toMatchObject({
    provenTime: expect.any(String),
    lastDrill: { passed: true, exitCode: 0, output: "proof\n" },
  });
  expect((await drill("good")).code).toBe(0);
  expect(await drill("bad")).toMatchObject({ code: 1, stderr: expect.stringMatching(/DRILL_FAILED.*health check/) });
  await stillpoint("schedule", "create", "prove", "--label", "drill=yes", "--action", "drill", "--cron", "0 3 1 1 *");
  expect(await product.stillpoint("schedule", "run", "prove")).toMatchObject({ code: 1 });
  await stillpoint("schedule", "delete", "prove");
  const { containers } = (await product.json("container", "list")) as { containers: unknown[] };
  expect(containers).toHaveLength(1);
  await stillpoint("container", "delete", "tried", "--force", "--with-checkpoints");
}, 120_000);

test("without a quiesce command production says so, and production-only leaves nothing", async () => {
  await run("plain", "--volume", "data:/data");
  const { findings } = (await product.json("checkpoint", "check", "container/plain")) as {
    findings: { code: string }[];
  };
  expect(findings.map(({ code }) => code)).toEqual(["quiesce.absent", "criu.absent"]);
  await stillpoint("checkpoint", "create", "container/plain", "--name", "p");
  expect(await receipt("plain", "p")).toMatchObject({ consistency: "filesystem", reason: "quiesce.absent" });
  const only = stillpoint("checkpoint", "create", "container/plain", "--type", "production-only");
  await expect(only).rejects.toThrow(/quiesce\.absent/);
  expect((await pauses("plain")).length).toBe(1);
  const standard = stillpoint("checkpoint", "create", "container/plain", "--type", "standard");
  await expect(standard).rejects.toThrow(/STANDARD_FAILED.*criu\.absent/s);
  const { checkpoints } = (await product.json("checkpoint", "list", "container/plain")) as { checkpoints: unknown[] };
  expect(checkpoints).toHaveLength(1);
  await stillpoint("container", "delete", "plain", "--force", "--with-checkpoints");
}, 60_000);
