import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CreateContainerRequest, UpdateContainerRequest } from "#contracts/container/v1/container";
import { temporaryFolder } from "#libs/testing";
import { fakeCluster } from "../testing/fake-cluster.ts";
import { succeeded } from "../testing/operations.ts";

const name = "projects/default/containers/web";
const bytes = (text: string) => new TextEncoder().encode(text);

test("run sends all that was asked, and says what became of it", async () => {
  await using folder = temporaryFolder();
  const secret = join(folder.path, "password");
  const variables = join(folder.path, "env");
  await writeFile(secret, "hunter2");
  await writeFile(variables, "# of the application\nA=from file\nB=kept\n\n");
  const requests: CreateContainerRequest[] = [];
  await using cluster = await fakeCluster({
    containers: {
      async createContainer(request) {
        requests.push(request);
        return succeeded;
      },
      getContainer: async () => ({ name, state: "CONTAINER_STATE_RUNNING" }),
    },
  });
  const line = [
    "container run web --image web:1 --port 8080:80 --port 53:53/udp --volume data:/data --volume /srv:/srv:ro,exclude",
    `--env-file ${variables} --env A=here --env HOME --env NONE --secret db=${secret} --cpus 0.25 --memory 64MiB`,
    "--restart on-failure:3 --health-interval 5s --user 1000:1000 --cap-drop ALL --drain move --label tier=web",
  ];
  const argv = [
    ...line.join(" ").split(" "),
    "--health-cmd",
    "true && true",
    "--quiesce",
    "",
    "--",
    "serve",
    "-x",
    "a b",
  ];
  const ran = await cluster.run(argv, { env: { ...(await addressOf(cluster)), HOME: "/root" } });
  expect(ran).toEqual({ code: 0, out: "Container web runs.\n", err: "" });
  expect(requests[0]).toMatchObject({
    parent: "projects/default",
    containerId: "web",
    start: true,
    labels: { tier: "web" },
    spec: {
      image: "web:1",
      command: ["serve", "-x", "a b"],
      env: { A: "here", B: "kept", HOME: "/root" },
      secrets: [{ name: "db", value: Buffer.from("hunter2") }],
      volumes: [
        { volume: "data", path: "/data", readOnly: false },
        { hostPath: "/srv", path: "/srv", readOnly: true, excludeFromCheckpoints: true },
      ],
      ports: [
        { hostPort: 8080, containerPort: 80, protocol: "tcp" },
        { hostPort: 53, containerPort: 53, protocol: "udp" },
      ],
      limits: { cpuMillis: 250, memoryBytes: 2 ** 26, pids: 0 },
      restart: { mode: "MODE_ON_FAILURE", maxRetries: 3 },
      healthCheck: { command: ["/bin/sh", "-c", "true && true"], interval: { seconds: 5 }, retries: 0 },
      user: "1000:1000",
      dropCapabilities: ["ALL"],
      quiesceCommand: [],
      drain: "DRAIN_POLICY_MOVE",
    },
  });
  expect(requests[0]?.spec?.env).not.toHaveProperty("NONE");
});

test("run looks a moment later at a program that has only just begun", async () => {
  let looks = 0;
  const begun = { name, state: "CONTAINER_STATE_RUNNING", startTime: new Date() } as const;
  const ended = {
    name,
    state: "CONTAINER_STATE_RESTARTING",
    stateReason: "exited with 1; it is started again",
  } as const;
  await using cluster = await fakeCluster({
    containers: { createContainer: async () => succeeded, getContainer: async () => (looks++ === 0 ? begun : ended) },
  });
  const ran = await cluster.run(["container", "run", "web", "--image", "web:1"]);
  expect(ran).toMatchObject({ code: 1, err: expect.stringContaining("ended at once: exited with 1") });
});

test("run of a program that ends at once says why and where to look, and exits 1", async () => {
  const ended = {
    name,
    state: "CONTAINER_STATE_EXITED",
    stateReason: "exited with 3",
    lastExit: { exitCode: 3 },
  } as const;
  let container: typeof ended | { readonly lastExit: { readonly exitCode: number } } = ended;
  await using cluster = await fakeCluster({
    containers: { createContainer: async () => succeeded, getContainer: async () => ({ ...ended, ...container }) },
  });
  expect(await cluster.run(["container", "run", "web", "--image", "web:1"])).toEqual({
    code: 1,
    out: "",
    err:
      "Error CONTAINER_ENDED: container web ended at once: exited with 3\n" +
      "See what it printed with: stillpoint container logs web\n",
  });
  container = { lastExit: { exitCode: 0 } };
  expect(await cluster.run(["container", "run", "web", "--image", "web:1"])).toMatchObject({
    code: 0,
    out: "Container web has run to its end.\n",
  });
});

test.each([
  ["a wrong port", ["--port", "80"]],
  ["a wrong volume", ["--volume", "data:/data:rw"]],
  ["a wrong restart policy", ["--restart", "always:3"]],
  ["too few cpus", ["--cpus", "0.001"]],
  ["a secret on the command line", ["--secret", "hunter2"]],
  ["a secret's file that is not there", ["--secret", "db=/nowhere"]],
  ["a health check without a command", ["--health-interval", "5s"]],
])("run with %s exits 2", async (_, options) => {
  await using cluster = await fakeCluster({});
  const ran = await cluster.run(["container", "run", "web", "--image", "web:1", ...options]);
  expect(ran).toMatchObject({ code: 2, out: "", err: expect.stringContaining("Error ARGUMENT_INVALID") });
});

test("a list and a container have tables", async () => {
  const container = {
    name,
    state: "CONTAINER_STATE_RUNNING",
    health: "CONTAINER_HEALTH_UNHEALTHY",
    restarts: 2,
    labels: { tier: "web" },
    lastExit: { exitCode: 137, time: new Date() },
    spec: {
      image: "web:1",
      command: ["serve"],
      env: { COLOUR: "blue" },
      user: "1000",
      ports: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
      limits: { cpuMillis: 500, memoryBytes: 2 ** 26, pids: 10 },
      secrets: [{ name: "db" }],
      volumes: [{ volume: "data", path: "/data", readOnly: true }],
      restart: { mode: "MODE_ON_FAILURE", maxRetries: 3 },
      drain: "DRAIN_POLICY_STOP",
    },
  } as const;
  await using cluster = await fakeCluster({
    containers: {
      listContainers: async () => ({ containers: [structuredClone(container)] as never }),
      getContainer: async () => structuredClone(container) as never,
    },
  });
  expect((await cluster.run(["container", "list"])).out).toMatch(
    /^NAME .*\nweb +running \(unhealthy\) +web:1 +8080:80 +2\n/,
  );
  const { out } = await cluster.run(["container", "get", "web"]);
  for (const line of [
    /^User: +1000$/m,
    /^Variables: +COLOUR$/m,
    /^CPUs: +0.5$/m,
    /^Volumes: +data at \/data, read-only$/m,
    /^Secrets: +\/run\/secrets\/db$/m,
    /^Restart: +on-failure, 3 times at most$/m,
    /^When drained: +stop$/m,
    /^Labels: +tier=web$/m,
  ]) {
    expect(out).toMatch(line);
  }
});

test("stop, kill, move and set ask for what was said", async () => {
  const asked: unknown[] = [];
  const note = async (request: unknown) => {
    asked.push(request);
    return succeeded;
  };
  await using cluster = await fakeCluster({
    containers: {
      stopContainer: note,
      killContainer: note,
      moveContainer: note,
      async updateContainer(request: UpdateContainerRequest) {
        asked.push(request);
        return { name };
      },
    },
  });
  expect((await cluster.run(["container", "stop", "web", "--timeout", "0"])).out).toBe("Container web is stopped.\n");
  await cluster.run(["container", "stop", "web"]);
  await cluster.run(["container", "kill", "web", "--signal", "HUP"]);
  expect((await cluster.run(["container", "move", "web"])).out).toBe("Container web was moved.\n");
  await cluster.run(["container", "set", "web", "--restart", "always", "--label", "tier="]);
  expect(asked).toMatchObject([
    { timeoutSeconds: -1 },
    { timeoutSeconds: 0 },
    { signal: "HUP" },
    { name, timeoutSeconds: 0 },
    { restart: { mode: "MODE_ALWAYS" }, labels: { tier: "" } },
  ]);
  expect((await cluster.run(["container", "set", "web"])).code).toBe(2);
});

test("logs go to where the container sent them; stats are lines under one heading", async () => {
  const requests: unknown[] = [];
  await using cluster = await fakeCluster({
    containers: {
      async *getContainerLogs(request) {
        requests.push(request);
        yield { stdout: bytes("out\n"), stderr: bytes("err\n") };
      },
      async *getContainerStats() {
        yield { cpuMillis: 250, memoryBytes: 2 ** 20, memoryLimitBytes: 2 ** 28, pids: 3 };
        yield { cpuMillis: 300, memoryBytes: 2 ** 20, memoryLimitBytes: 2 ** 28, pids: 3 };
      },
    },
  });
  const logs = await cluster.run(["container", "logs", "web", "-f", "--tail", "5", "--since", "10m"]);
  expect(logs).toEqual({ code: 0, out: "out\n", err: "err\n" });
  expect(requests[0]).toMatchObject({ name, follow: true, tail: 5, since: expect.any(Date) });
  const stats = (await cluster.run(["container", "stats", "web", "-f"])).out;
  expect(stats).toMatch(/^CPUS +MEMORY .*\n0.25 +1 MiB of 256 MiB +3 .*\n0.3 /);
});

/** The environment by which a command line finds the cluster. */
const addressOf = async ({ address }: { readonly address: string }) => ({ STILLPOINT_ADDRESS: address });
