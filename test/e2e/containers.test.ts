import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerSpec, type DrainPolicy, type RestartPolicy_Mode } from "#contracts/container/v1/container";
import { dockerEngine, eventually, freePort, type TestEngine } from "#libs/testing";
import { repository, runCommand } from "../harness/command.ts";
import { type ContainerClient, connectContainers } from "../harness/container-client.ts";
import { type Product, startTestProduct } from "../harness/product.ts";
import { busyboxImage, pushImage } from "../images/build.ts";

const mebibyte = 2 ** 20;

/** Containers on a real engine, by the whole product: command line, services, agent, registry. */
describe("containers", () => {
  let engine: TestEngine;
  let product: Product;
  let client: ContainerClient;
  beforeAll(async () => {
    engine = await dockerEngine();
    product = await startTestProduct({ AGENT_DOCKER_HOST: `unix://${engine.socketPath}` });
    await pushImage(engine, await busyboxImage(engine), new URL(product.registryUrl).host, "busybox");
    client = connectContainers(product.address);
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    await product[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
  });

  const spec = (differs: Partial<ContainerSpec> = {}) =>
    ContainerSpec.fromPartial({ image: "busybox", command: ["sleep", "1000"], limits: { cpuMillis: 100 }, ...differs });
  const script = (text: string, differs: Partial<ContainerSpec> = {}) =>
    spec({ command: ["sh", "-c", text], ...differs });
  const words = async (name: string) => (await client.events(name)).map(({ type }) => type.split(".").at(-1));
  const inspect = async (name: string) => engine.docker.getContainer((await client.get(name)).uid).inspect();

  test("run, logs, exec and stats from the command line; it is listed, and held by its host", async () => {
    const line = ["--image", "busybox", "--cpus", "0.5", "--", "sh", "-c", "echo out; echo err >&2; sleep 1000"];
    expect(await product.stillpoint("container", "run", "web", ...line)).toMatchObject({
      code: 0,
      stdout: "Container web runs.\n",
    });
    const logs = () => product.stillpoint("container", "logs", "web");
    await eventually(async () => (await logs()).stdout === "out\n", { deadlineMs: 20_000 });
    expect(await logs()).toMatchObject({ code: 0, stderr: "err\n" });
    const exec = await product.stillpoint("container", "exec", "web", "--", "sh", "-c", "id -u; exit 5");
    expect(exec).toEqual({ code: 5, stdout: "0\n", stderr: "" });
    expect((await product.stillpoint("container", "stats", "web")).stdout).toMatch(/^CPUS .*\n\S+ +.* of 256 MiB +\d/);
    const { hosts } = (await product.json("host", "list")) as {
      hosts: [{ name: string; used: unknown; reservations: unknown }];
    };
    const workload = "projects/default/containers/web";
    expect(hosts[0]).toMatchObject({
      used: { cpuMillis: 500, memoryBytes: 256 * mebibyte },
      reservations: [{ workload }],
    });
  });

  test("exec -it is this terminal: raw, of this size, and ends with the program's exit code", async () => {
    const command = `${join(repository, "bin/stillpoint")} container exec -it web -- sh`;
    const env = { ...process.env, STILLPOINT_ADDRESS: product.address };
    const child = spawn(
      "script",
      ["--quiet", "--return", "--command", `stty rows 33 cols 99; ${command}`, "/dev/null"],
      { env },
    );
    let shown = "";
    child.stdout.on("data", (data: Buffer) => {
      if (shown === "") child.stdin.write("test -t 0 && stty size && exit 7\n");
      shown += data.toString();
    });
    const [code] = (await once(child, "close")) as [number];
    expect({ code, shown }).toEqual({ code: 7, shown: expect.stringMatching(/^33 99\r*$/m) as string });
  });

  test("limits, variables, user and root are what was asked, as seen in the container", async () => {
    const colour = "deep\nblue = #00f";
    await client.run("limits", {
      ...spec({ env: { COLOUR: colour }, user: "1000:1000", workingDir: "/tmp", readOnlyRoot: true }),
      limits: { cpuMillis: 250, memoryBytes: 32 * mebibyte, pids: 20 },
    });
    const seen = async (text: string) => (await client.shell("limits", text)).text.trim();
    const cgroup = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes pids.max pids/pids.max 2>/dev/null";
    expect(await seen(cgroup)).toBe(`${32 * mebibyte}\n20`);
    expect(await seen("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null")).toMatch(
      /^25000\b/,
    );
    expect(await seen('echo "$COLOUR"; id -u; pwd')).toBe(`${colour}\n1000\n/tmp`);
    expect((await client.shell("limits", "touch /x")).text).toContain("Read-only file system");
  });

  test("a secret is in its container, and nowhere else: no answer, event, log or file has it", async () => {
    // Of a length whose base64 has no end of its own.
    const value = randomBytes(12).toString("hex");
    const file = join(product.folder, "secret-in-test");
    const variables = join(product.folder, "variables-in-test");
    await writeFile(file, value);
    await writeFile(variables, `# of the test\nMARK=${value.toUpperCase()}\n`);
    const line = ["--image", "busybox", "--secret", `db=${file}`, "--env-file", variables];
    const ran = await product.stillpoint("container", "run", "keeper", ...line, "--", "sleep", "1000");
    expect(ran).toMatchObject({ code: 0 });
    expect((await client.shell("keeper", "cat /run/secrets/db")).text).toBe(value);
    expect(await product.stillpoint("container", "set", "keeper", "--label", "a=b")).toMatchObject({ code: 0 });
    expect(await product.stillpoint("checkpoint", "create", "container/keeper")).toMatchObject({ code: 0 });
    expect(await product.stillpoint("container", "stop", "keeper", "--timeout", "0")).toMatchObject({ code: 0 });
    await Promise.all([rm(file), rm(variables)]);
    const shown = JSON.stringify([
      await product.json("container", "get", "keeper"),
      await product.json("operation", "list"),
      await client.events("keeper"),
      await inspect("keeper"),
    ]);
    for (const form of [value, Buffer.from(value).toString("base64")]) {
      expect(shown).not.toContain(form);
      expect(await filesWith(product.folder, form)).toEqual([]);
    }
    // What is no secret is found in this way.
    const mark = value.toUpperCase();
    expect(shown).toContain(mark);
    expect((await filesWith(product.folder, mark)).join()).toMatch(/jetstream\/.*\/OPS\/.*jetstream\/.*\/REC\//s);
  });

  test("a published port answers; what is in a volume outlives stop, start and kill, and goes with the container", async () => {
    const hostPort = await freePort();
    await client.run("site", {
      ...script("mkdir -p /data/www; date +%N >>/data/www/index.html; exec httpd -f -p 80 -h /data/www"),
      ports: [{ hostPort, containerPort: 80, protocol: "tcp" }],
      volumes: [{ volume: "data", path: "/data", readOnly: false, excludeFromCheckpoints: false, hostPath: "" }],
    });
    const lines = () =>
      eventually(async () => (await (await fetch(`http://127.0.0.1:${hostPort}/`)).text()).trim().split("\n"), {
        deadlineMs: 20_000,
      });
    const [first] = await lines();
    const name = "projects/default/containers/site";
    await client.done(client.containers.stopContainer({ name, timeoutSeconds: -1 }));
    await client.done(client.containers.startContainer({ name }));
    expect((await lines()).slice(0, 1)).toEqual([first]);
    await client.done(client.containers.killContainer({ name }));
    await client.done(client.containers.startContainer({ name }));
    expect(await lines()).toEqual([first, expect.any(String), expect.any(String)]);
    const volumes = async () => (await engine.docker.listVolumes()).Volumes.map(({ Name }) => Name);
    const { uid } = await client.get("site");
    expect((await volumes()).filter((volume) => volume.includes(uid))).toHaveLength(1);
    await client.done(client.containers.deleteContainer({ name, force: true }));
    expect((await volumes()).filter((volume) => volume.includes(uid))).toEqual([]);
  });

  test("one that fails is started again by its policy, and the events say why it ended each time", async () => {
    const restart = { mode: "MODE_ON_FAILURE" as RestartPolicy_Mode, maxRetries: 2 };
    await client.run("flaky", script("sleep 0.3; exit 3", { restart }));
    const { stateReason, restarts } = await client.until("flaky", ({ state }) => state === "CONTAINER_STATE_EXITED");
    expect({ stateReason, restarts }).toEqual({ stateReason: "exited with 3", restarts: 2 });
    const ends = async () => (await client.events("flaky")).filter(({ type }) => type.endsWith(".exited"));
    await eventually(async () => (await ends()).length === 3);
    expect((await ends()).map(({ data }) => data)).toEqual([
      expect.objectContaining({ exitCode: 3, reason: "exited with 3", outOfMemory: false }),
      expect.objectContaining({ exitCode: 3 }),
      expect.objectContaining({ exitCode: 3, willRestart: false }),
    ]);
    expect(await words("flaky")).toEqual([
      ...["created", "started", "exited", "restarted", "exited", "restarted", "exited"],
    ]);
  });

  test("one that takes more memory than it may is killed, and the event says so", async () => {
    const limits = { cpuMillis: 0, memoryBytes: 16 * mebibyte, pids: 0 };
    await client.run("greedy", script("sleep 0.5; dd if=/dev/zero of=/dev/null bs=100M count=1", { limits }));
    const { stateReason } = await client.until("greedy", ({ state }) => state === "CONTAINER_STATE_EXITED");
    expect(stateReason).toBe("killed: out of memory");
    const ended = async () => (await client.events("greedy")).find(({ type }) => type.endsWith(".exited"));
    expect((await eventually(ended)).data).toMatchObject({ exitCode: 137, outOfMemory: true, signal: "SIGKILL" });
  });

  test("a health check that fails is told", async () => {
    const second = { seconds: 1, nanos: 0 };
    const check = { interval: second, timeout: second, startPeriod: undefined, retries: 1 };
    await client.run("well", spec({ healthCheck: { command: ["test", "!", "-e", "/tmp/ill"], ...check } }));
    await client.until("well", ({ health }) => health === "CONTAINER_HEALTH_HEALTHY");
    await client.shell("well", "touch /tmp/ill");
    await client.until("well", ({ health }) => health === "CONTAINER_HEALTH_UNHEALTHY");
    await eventually(async () => (await words("well")).join(" ").endsWith("started healthy unhealthy"));
  });

  test("a drained host takes nothing new, and its containers are stopped, until it is uncordoned", async () => {
    await client.run("steady", spec({ restart: { mode: "MODE_ALWAYS" as RestartPolicy_Mode, maxRetries: 0 } }));
    await client.run("mobile", spec({ drain: "DRAIN_POLICY_MOVE" as DrainPolicy }));
    const id = (await client.get("steady")).host.slice("hosts/".length);
    const drained = await product.stillpoint("host", "drain", id);
    expect(drained).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/is drained; stopped: .*steady/) as string,
    });
    expect(drained.stdout).toMatch(
      /^projects\/default\/containers\/mobile was not moved and is stopped: NO_HOST_FITS/m,
    );
    for (const name of ["steady", "mobile"]) expect((await client.get(name)).state).toBe("CONTAINER_STATE_STOPPED");
    expect((await inspect("steady")).State.Running).toBe(false);
    expect(await product.json("host", "get", id)).toMatchObject({ state: "HOST_STATE_CORDONED", cordoned: true });
    await expect(client.run("late", spec())).rejects.toThrow(/NO_HOST_FITS.*is cordoned/);
    expect((await product.stillpoint("host", "drain", id)).stdout).toMatch(/nothing ran there/);
    const { stdout } = await product.stillpoint("events", "--filter", "evt.host.v1.*.>");
    expect(stdout).toMatch(/draining.*\n.*drained/);
    await product.json("host", "uncordon", id);
    await client.done(client.containers.startContainer({ name: "projects/default/containers/steady" }));
  });

  test("containers live on when agent and control plane are killed; what ended meanwhile is told", async () => {
    await client.run("lasting", spec());
    await client.run("mortal", spec());
    const before = (await inspect("lasting")).State;
    const { uid } = await client.get("mortal");
    await product.kill();
    client[Symbol.dispose]();
    await engine.docker.getContainer(uid).kill();
    await product.restart();
    client = connectContainers(product.address);
    const { stateReason } = await client.until("mortal", ({ state }) => state === "CONTAINER_STATE_EXITED");
    expect(stateReason).toBe("ended by SIGKILL (137)");
    expect((await client.get("lasting")).state).toBe("CONTAINER_STATE_RUNNING");
    const { Pid, StartedAt } = (await inspect("lasting")).State;
    expect({ Pid, StartedAt }).toEqual({ Pid: before.Pid, StartedAt: before.StartedAt });
    expect((await client.shell("lasting", "echo alive")).text).toBe("alive\n");
    expect(await words("lasting")).toEqual(["created", "started"]);
  });
});

/** The files in a folder that hold a text. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const { stdout } = await runCommand("grep", ["--recursive", "--files-with-matches", "--fixed-strings", text, folder]);
  return stdout.split("\n").filter(Boolean).sort();
}
