import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ContainerState, type RestartPolicy, RestartPolicy_Mode } from "#contracts/container/v1/container";
import { systemRandom } from "#libs/clock";
import type { StepAction } from "../../services/agent/steps/step-runner.ts";
import { containerDefinition } from "../../services/agent/testing/container-definition.ts";
import { ContainerHost, type TestContainer } from "../harness/container-host.ts";
import { busyboxImage } from "../images/build.ts";

const MIB = 2 ** 20;
const always: RestartPolicy = { mode: RestartPolicy_Mode.ALWAYS, maxRetries: 0 };
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 20_000 });
let host: ContainerHost;
let busybox: string;

beforeAll(async () => {
  host = await ContainerHost.start();
  busybox = await host.push(await busyboxImage(host.engine), "busybox");
}, 120_000);

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
});

/** What was told of its states, without repeats. */
function states(container: TestContainer): string[] {
  const all = container
    .told()
    .flatMap(({ happened }) => (happened?.$case === "container" ? [happened.value.state] : []));
  return all.filter((state, at) => state !== all[at - 1]);
}

const shell = (script: string) => ({ command: ["sh", "-c", script] });

test("one that ends is told with its code and last lines, and started again as often as its policy says", async () => {
  const restart = { mode: RestartPolicy_Mode.ON_FAILURE, maxRetries: 2 };
  await using container = await host.create(busybox, { ...shell("echo no database; exit 3"), restart });
  await container.start();
  const status = await container.becomes({ state: ContainerState.EXITED });
  expect(status).toMatchObject({ restarts: 2, lastExit: { exitCode: 3, outOfMemory: false } });
  expect(status.lastExit?.error).toMatch(/no database/);
  await soon(async () => expect(states(container).at(-1)).toBe(ContainerState.EXITED));
  expect(states(container).slice(0, 3)).toEqual([
    "CONTAINER_STATE_RUNNING",
    "CONTAINER_STATE_RESTARTING",
    "CONTAINER_STATE_RUNNING",
  ]);
  expect(container.told().at(-1)?.reason).toBe(`exited with 3: ${"no database\n".repeat(3).trim()}`);
});

test("one that has no memory left is told so", async () => {
  await using container = await host.create(busybox, {
    ...shell("tail /dev/zero"),
    limits: { cpuMillis: 0, memoryBytes: 16 * MIB, pids: 0 },
  });
  await container.start();
  const { lastExit } = await container.becomes({ state: ContainerState.EXITED });
  expect(lastExit).toMatchObject({ exitCode: 137, outOfMemory: true });
  await soon(async () => expect(container.told().at(-1)?.reason).toBe("killed: out of memory"));
});

test("one that always runs stays stopped after a stop and SIGKILL, and not after other signals", async () => {
  const script = "trap 'echo again' HUP; trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
  await using container = await host.create(busybox, { ...shell(script), restart: always });
  await container.start();
  await soon(async () => expect(await container.logs()).toBe("up\n"));
  await container.kill("SIGHUP");
  await soon(async () => expect(await container.logs()).toBe("up\nagain\n"));
  await container.run("kill", "-KILL", "-1"); // its init stays and ends with its child
  await container.becomes({ state: ContainerState.RUNNING, restarts: 1 });
  await container.kill("SIGKILL");
  await container.becomes({ state: ContainerState.STOPPED });
  await container.start();
  await container.becomes({ state: ContainerState.RUNNING, restarts: 0 });
  await container.stop(10);
  expect(await container.becomes({ state: ContainerState.STOPPED })).toMatchObject({ lastExit: { exitCode: 0 } });
  const { HostConfig } = await host.engine.docker.getContainer(container.uid).inspect();
  expect(HostConfig.RestartPolicy).toMatchObject({ Name: "no" }); // not started at the engine's own start
  await container.start();
  await container.act({ $case: "updateContainer", value: { restart: { mode: RestartPolicy_Mode.NO, maxRetries: 0 } } });
  await container.run("kill", "-KILL", "-1");
  await container.becomes({ state: ContainerState.EXITED });
});

test("containers run on without the agent, and it tells what happened meanwhile", async () => {
  await using steady = await host.create(busybox, {}, "projects/default/containers/steady");
  await using failing = await host.create(busybox, { ...shell("sleep 1000; exit 5"), restart: always });
  await using ending = await host.create(busybox, shell("while [ ! -e /end ]; do sleep 0.1; done; exit 4"));
  for (const container of [steady, failing, ending]) await container.start();
  const { Pid } = (await host.engine.docker.getContainer(steady.uid).inspect()).State;
  await host.agent.end("SIGKILL");
  const inEngine = (container: TestContainer) => host.engine.docker.getContainer(container.uid);
  await inEngine(failing)
    .exec({ Cmd: ["kill", "-KILL", "-1"] })
    .then((exec) => exec.start({}));
  await inEngine(ending)
    .exec({ Cmd: ["touch", "/end"] })
    .then((exec) => exec.start({}));
  await soon(async () => expect((await inEngine(ending).inspect()).State.Running).toBe(false));
  await soon(async () => expect((await inEngine(failing).inspect()).RestartCount).toBe(1));
  await host.agent.start();
  expect((await steady.status()).state).toBe(ContainerState.RUNNING);
  expect((await inEngine(steady).inspect()).State.Pid).toBe(Pid);
  expect(await ending.status()).toMatchObject({ state: ContainerState.EXITED, lastExit: { exitCode: 4 } });
  expect(await failing.status()).toMatchObject({ state: ContainerState.RUNNING, restarts: 1 });
  expect((await failing.status()).lastExit?.exitCode).toBeGreaterThan(0);
  await soon(async () => expect(ending.told().at(-1)?.reason).toBe("exited with 4"));
  await soon(async () => expect(failing.told().at(-1)?.reason).toMatch(/^restarted by its policy \(1\)/));
  expect((await steady.run("echo", "here")).text).toBe("here\n");
});

test("each step is finished by the next agent when one is cut off", async () => {
  const definition = containerDefinition(busybox, { ...shell("sleep 1000"), restart: always });
  const { uid } = definition;
  const story: [StepAction, failpoint: string][] = [
    [{ $case: "createContainer", value: { definition, start: false } }, "agent.create-container.after"],
    [{ $case: "startContainer", value: {} }, "agent.start-container.after"],
    [{ $case: "stopContainer", value: { timeoutSeconds: 0 } }, "agent.stop-container.after"],
    [{ $case: "deleteContainer", value: {} }, "agent.delete-container.after"],
  ];
  await host.agent.end("SIGTERM");
  await host.agent.start({ STILLPOINT_FAILPOINTS: `${story[0]?.[1]}=kill` });
  for (const [at, [action]] of story.entries()) {
    const request = { uid, operation: systemRandom.id("op"), epoch: host.agent.host.nextEpoch() };
    await host.agent.host.client.fence(request);
    await expect(host.agent.host.runStep(request, action)).rejects.toMatchObject({ code: 14 });
    expect(await host.agent.ended).toBe("SIGKILL");
    await host.agent.start({ STILLPOINT_FAILPOINTS: `${story[at + 1]?.[1] ?? "none"}=kill` });
    await host.agent.host.runStep(request, action);
  }
  expect((await host.leftovers()).filter((line) => line.includes(uid))).toEqual([]);
}, 120_000);

test("without the engine its steps fail clearly, and what happened is told when it is back", async () => {
  await using container = await host.create(busybox, shell("sleep 1000; exit 6"));
  await container.start();
  await soon(() => expect(host.capabilities).toContain("docker"));
  await host.link.cut();
  await soon(async () => expect(container.stop()).rejects.toMatchObject({ reason: "ENGINE_UNAVAILABLE" }));
  await expect(container.run("true")).rejects.toMatchObject({ reason: "ENGINE_UNAVAILABLE" });
  await soon(() => expect(host.capabilities).not.toContain("docker"));
  await host.engine.docker.getContainer(container.uid).kill();
  await host.link.restore();
  await soon(() => expect(host.capabilities).toContain("docker"));
  expect(await container.becomes({ state: ContainerState.EXITED })).toMatchObject({ lastExit: { exitCode: 137 } });
  await soon(async () => expect(container.told().at(-1)?.reason).toBe("ended by signal 9"));
});

test("one that its owner stopped is stopped again if the engine starts it, and strays are removed", async () => {
  await using container = await host.create(busybox, { secrets: [{ name: "key", value: Buffer.from("1") }] });
  await container.start();
  await container.stop(0);
  await host.agent.end("SIGKILL");
  await host.engine.docker.getContainer(container.uid).start();
  const stray = systemRandom.id("ctr");
  const hostData = (await readFile(join(host.folder, "agent/host-uid"), "utf8")).trim();
  const Labels = { "io.stillpoint.uid": stray, "io.stillpoint.host-data": hostData };
  const { Image } = await host.engine.docker.getContainer(container.uid).inspect();
  await host.engine.docker.createContainer({ name: stray, Image, Cmd: ["true"], Labels });
  await host.agent.start();
  await container.becomes({ state: ContainerState.STOPPED });
  expect((await host.engine.docker.getContainer(container.uid).inspect()).State.Running).toBe(false);
  expect((await host.leftovers()).filter((line) => line.includes(stray))).toEqual([]);
});

test("what is not what was written is not adopted, and its container is left alone", async () => {
  const container = await host.create(busybox);
  await container.start();
  await host.agent.end("SIGTERM");
  const manifest = join(host.folder, "agent/containers", container.uid, "manifest.json");
  const written = await readFile(manifest, "utf8");
  await writeFile(manifest, written.replace('"isStopped": false', '"isStopped": true'));
  await host.agent.start();
  await expect(container.status()).rejects.toMatchObject({ reason: "WORKLOAD_NOT_FOUND" });
  expect((await host.engine.docker.getContainer(container.uid).inspect()).State.Running).toBe(true);
  await host.agent.end("SIGTERM");
  await writeFile(manifest, written);
  await host.agent.start();
  await container[Symbol.asyncDispose]();
});
