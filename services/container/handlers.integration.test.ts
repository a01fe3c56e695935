import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WatchContainersResponse_Kind as Kind, type WatchContainersResponse } from "#contracts/container/v1/container";
import { digestInTest } from "#libs/workload-testing";
import {
  type ContainerPlane,
  type NewContainer,
  newContainer,
  startContainerPlane,
} from "./testing/container-plane.ts";

let plane: ContainerPlane;
beforeAll(async () => {
  plane = await startContainerPlane();
});
afterAll(async () => {
  await plane[Symbol.asyncDispose]();
});

let container: NewContainer;
let name = "";
beforeEach(() => {
  container = newContainer(plane);
  name = container.name;
});

describe("requests", () => {
  test("a bad spec names every field that is wrong, and nothing is accepted", async () => {
    const wrong = container.asked({ env: { "A=B": "x" }, ports: [{ hostPort: 0, containerPort: 80, protocol: "" }] });
    await expect(plane.containers.createContainer(wrong)).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
      message: expect.stringMatching(
        /^spec\.env has a name .*; spec\.ports\[0\]\.host_port must be 1 to 65535, not 0$/,
      ),
    });
    await expect(container.get()).rejects.toMatchObject({ reason: "CONTAINER_NOT_FOUND" });
  });

  test("an image is pinned by its digest, also an index; what is no container image is refused", async () => {
    const { imageDigest } = await container.made({ spec: { image: "everywhere:1" } });
    expect(imageDigest).toBe(`everywhere@${digestInTest}`);
    const other = newContainer(plane);
    for (const image of ["guest:1", "chart:1"]) {
      const refused = plane.containers.createContainer(other.asked({ image }));
      await expect(refused).rejects.toMatchObject({
        reason: "IMAGE_INVALID",
        message: expect.stringContaining(`${image} is no container image but application/vnd.`),
      });
    }
    const missing = plane.containers.createContainer(other.asked({ image: "none:1" }));
    await expect(missing).rejects.toMatchObject({ reason: "IMAGE_NOT_FOUND" });
  });

  test("secrets reach the host and nobody else", async () => {
    const value = new TextEncoder().encode("hunter2");
    const made = await container.made({ spec: { secrets: [{ name: "db", value }] } });
    expect(made.spec?.secrets).toEqual([{ name: "db", value: new Uint8Array() }]);
    const { containers } = await plane.containers.listContainers({ parent: "projects/default", waitFor: made.version });
    const listed = containers.find((one) => one.name === name);
    expect(listed?.spec?.secrets).toEqual([{ name: "db", value: new Uint8Array() }]);
    const updated = await plane.containers.updateContainer({ name, labels: { a: "b" } });
    expect(updated.spec?.secrets[0]?.value).toHaveLength(0);
    expect(plane.agent.requests.at(-1)?.action).toMatchObject({
      $case: "createContainer",
      value: { definition: { name, uid: made.uid, spec: { image: `web@${digestInTest}`, secrets: [{ name: "db" }] } } },
    });
    const sent = plane.agent.requests.at(-1)?.action;
    const secret = sent?.$case === "createContainer" ? sent.value.definition?.spec?.secrets[0]?.value : undefined;
    expect(Buffer.from(secret ?? []).toString()).toBe("hunter2");
  });

  test("a repeated request is known by its secrets too", async () => {
    const request = (value: string) => ({
      ...container.asked({ secrets: [{ name: "db", value: new TextEncoder().encode(value) }] }),
      requestId: container.containerId,
    });
    const first = await plane.containers.createContainer(request("hunter2"));
    expect(await plane.containers.createContainer(request("hunter2"))).toMatchObject({ name: first.name });
    const other = plane.containers.createContainer(request("hunter3"));
    await expect(other).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    await plane.succeeded(first);
  });

  test("the largest spec that is allowed fits into a record; a larger one is refused", async () => {
    const secrets = [1, 2, 3, 4].map((i) => ({ name: `s${i}`, value: new Uint8Array(64 * 1024).fill(i) }));
    const env = { A: "x".repeat(60 * 1024) };
    const made = await container.made({ spec: { secrets, env, command: ["y".repeat(30 * 1024)] } });
    expect(made.spec?.env).toEqual(env);
    const escaped = "\u0001".repeat(30 * 1024);
    const larger = { secrets, env: { A: escaped, B: escaped }, command: [escaped] };
    await expect(plane.containers.createContainer(newContainer(plane).asked(larger))).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
      message: expect.stringContaining("spec takes "),
    });
  });

  test("a wrong state is refused with what to do", async () => {
    await container.made();
    await expect(plane.containers.killContainer({ name })).rejects.toMatchObject({
      reason: "CONTAINER_STATE",
      message: `cannot kill ${name}: it is stopped`,
      help: "Start it first.",
    });
    await plane.succeeded(await plane.containers.startContainer({ name }));
    await expect(plane.containers.deleteContainer({ name })).rejects.toMatchObject({
      help: "Stop it first, or pass --force to delete it as it is.",
    });
    await expect(plane.containers.killContainer({ name, signal: "SIGNOSUCH" })).rejects.toMatchObject({
      message: '"SIGNOSUCH" is no signal',
    });
    const long = plane.containers.stopContainer({ name, timeoutSeconds: 3_601 });
    await expect(long).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await plane.succeeded(await plane.containers.deleteContainer({ name, force: true }));
  });
});

describe("logs, stats and commands", () => {
  test("pass through to the host, under the container's uid", async () => {
    const { uid } = await container.made();
    const logs = () => printed(plane.containers.getContainerLogs({ name, tail: 5, follow: true }));
    expect(await logs()).toBe(`${uid} 5 true\ndone\n`);
    const stats = () => plane.containers.getContainerStats({ name })[Symbol.asyncIterator]().next();
    await expect(stats()).rejects.toMatchObject({ reason: "CONTAINER_STATE" });
    await plane.succeeded(await plane.containers.startContainer({ name }));
    expect((await stats()).value).toMatchObject({ cpuMillis: 250, pids: 3 });
  });

  test("a command gets input and the terminal's size as they come, and gives its exit code", async () => {
    const { uid } = await container.made({ start: true });
    async function* typing() {
      yield { start: { name, command: ["sh", "-i"], terminal: true } };
      yield { resize: { rows: 40, columns: 120 } };
      yield { stdin: new TextEncoder().encode("exit\n") };
      yield { stdinClosed: true };
    }
    const answers = plane.containers.execContainer(typing());
    expect(await printed(answers)).toBe(`${uid} sh -i\n40x120\nexit\n= 7`);
  });

  test("what cannot be run is refused with why", async () => {
    await container.made();
    const run = (start: object) => printed(plane.containers.execContainer(once({ start })));
    await expect(run({ name, command: ["ls"] })).rejects.toMatchObject({ reason: "CONTAINER_STATE" });
    await plane.succeeded(await plane.containers.startContainer({ name }));
    await expect(run({ name })).rejects.toMatchObject({ message: "start.command is missing" });
    await expect(run({ name, command: ["missing"] })).rejects.toMatchObject({ reason: "COMMAND_NOT_FOUND" });
    await expect(printed(plane.containers.execContainer(once({ stdinClosed: true })))).rejects.toMatchObject({
      message: "start is missing in the first message",
    });
  });
});

test("a watch has the snapshot, then what happens", async () => {
  const { version } = await container.made();
  await plane.containers.listContainers({ parent: "projects/default", waitFor: version });
  const stop = new AbortController();
  const seen: string[] = [];
  const remember = ({ kind, container }: WatchContainersResponse) => {
    if (kind !== Kind.SYNCED && container?.name !== name) return;
    const line = `${kind} ${container?.state ?? ""}`;
    if (line !== seen.at(-1)) seen.push(line);
    if (kind === Kind.SYNCED) void plane.containers.deleteContainer({ name });
    if (kind === Kind.DELETED) stop.abort();
  };
  const watching = (async () => {
    const changes = plane.containers.watchContainers({ parent: "projects/default" }, { signal: stop.signal });
    for await (const change of changes) remember(change);
  })();
  await expect(watching).rejects.toThrow();
  expect(seen).toEqual([
    ...["KIND_CURRENT CONTAINER_STATE_STOPPED", "KIND_SYNCED "],
    ...["KIND_CHANGED CONTAINER_STATE_DELETING", "KIND_DELETED CONTAINER_STATE_UNSPECIFIED"],
  ]);
});

async function* once<Message>(message: Message): AsyncGenerator<Message> {
  yield message;
}

interface Printed {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly exitCode?: number | undefined;
}

/** All that was printed, and the exit code at the end. */
async function printed(answers: AsyncIterable<Printed>): Promise<string> {
  let text = "";
  for await (const { stdout, stderr, exitCode } of answers) {
    text += Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
    if (exitCode !== undefined) text += `= ${exitCode}`;
  }
  return text;
}
