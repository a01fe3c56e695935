import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ContainerState, RestartPolicy_Mode } from "#contracts/container/v1/container";
import { ContainerStatus } from "#contracts/host/v1/agent";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { eventually } from "#libs/testing";
import { digestInTest, hostInTest } from "#libs/workload-testing";
import {
  type ContainerPlane,
  exit,
  later,
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

const workload = (uid: string) => plane.agent.workloads.get(uid);
const isIn = (state: ContainerState) => eventually(async () => (await container.get()).state === state);

describe("a container's life", () => {
  test("create, start, stop, start, kill, delete", async () => {
    const created = await container.made();
    expect(created).toMatchObject({
      state: ContainerState.STOPPED,
      host: hostInTest,
      imageDigest: `web@${digestInTest}`,
      operation: "",
      spec: {
        limits: { cpuMillis: 1_000, memoryBytes: 256 * 2 ** 20, pids: 1_024 },
        restart: { mode: RestartPolicy_Mode.NO },
        drain: "DRAIN_POLICY_STOP",
      },
    });
    await plane.succeeded(await plane.containers.startContainer({ name }));
    expect(await container.get()).toMatchObject({ state: ContainerState.RUNNING, startTime: expect.any(Date) });
    await plane.succeeded(await plane.containers.stopContainer({ name, timeoutSeconds: -1 }));
    const stopped = await container.get();
    expect(stopped).toMatchObject({ state: ContainerState.STOPPED, stateReason: "", lastExit: { exitCode: 143 } });
    await plane.succeeded(await plane.containers.startContainer({ name }));
    await plane.succeeded(await plane.containers.killContainer({ name, signal: "kill" }));
    await plane.succeeded(await plane.containers.deleteContainer({ name }));
    await expect(container.get()).rejects.toMatchObject({ reason: "CONTAINER_NOT_FOUND" });
    expect(plane.reservations.has(created.uid)).toBe(false);
    expect(workload(created.uid)).toBeUndefined();
    expect(await plane.happened(name)).toEqual([
      ...["created", "started", "stopped", "started", "stopped", "killed", "deleting", "deleted"],
    ]);
  });

  test("it is placed by its limits, on a host that has the engine", async () => {
    const { uid } = await container.made({
      spec: {
        limits: { cpuMillis: 250, memoryBytes: 2 ** 26, pids: 0 },
        ports: [
          { hostPort: 53, containerPort: 53, protocol: "udp" },
          { hostPort: 53, containerPort: 53, protocol: "" },
        ],
        hostSelector: { zone: "a" },
        host: "hosts/n1",
      },
    });
    expect(plane.reservations.get(uid)).toMatchObject({
      workload: name,
      requirements: {
        cpuMillis: 250,
        memoryBytes: 2 ** 26,
        hostPorts: [53],
        hostSelector: { zone: "a" },
        capabilities: ["docker"],
        host: "hosts/n1",
      },
    });
  });

  test("a creation that fails leaves nothing", async () => {
    plane.agent.failing.set("createContainer", new StillpointError("COMMAND_NOT_FOUND", "there is no serve in web"));
    const { error } = await plane.ended(await plane.containers.createContainer({ ...container.asked(), start: true }));
    expect(error).toMatchObject({ reason: "COMMAND_NOT_FOUND", message: "there is no serve in web" });
    await expect(container.get()).rejects.toMatchObject({ reason: "CONTAINER_NOT_FOUND" });
    expect([...plane.reservations.values()].map(({ workload }) => workload)).not.toContain(name);
    expect([...plane.agent.workloads.values()].map((it) => it.name)).not.toContain(name);
  });
});

describe("what the host sees", () => {
  test("why it ended, and that its policy started it again, each time once", async () => {
    const { uid } = await container.made({ start: true });
    const first = exit(3, later(workload(uid)));
    await plane.sees(uid, { state: ContainerState.RESTARTING, lastExit: first });
    await isIn(ContainerState.RESTARTING);
    expect((await container.get()).stateReason).toBe("exited with 3; it is started again");
    await plane.sees(uid, { state: ContainerState.RUNNING, startTime: later(workload(uid)), restarts: 1 });
    await isIn(ContainerState.RUNNING);
    await plane.sees(uid, { health: "CONTAINER_HEALTH_UNHEALTHY" });
    await eventually(async () => (await container.get()).health === "CONTAINER_HEALTH_UNHEALTHY");
    await plane.sees(uid, { state: ContainerState.EXITED, lastExit: exit(137, later(workload(uid)), true) });
    await isIn(ContainerState.EXITED);
    expect(await container.get()).toMatchObject({
      stateReason: "killed: out of memory",
      restarts: 1,
      lastExit: { exitCode: 137, outOfMemory: true },
    });
    expect(await plane.happened(name)).toEqual([
      ...["created", "started", "exited", "restarted", "unhealthy", "exited"],
    ]);
  });

  test("each end is told also when the host has gone on by then; an old word changes nothing", async () => {
    const { uid } = await container.made({ start: true });
    const running = ContainerStatus.fromPartial({ ...workload(uid)?.container });
    const times = [1, 2, 3].map((seconds) => new Date(later(workload(uid)).getTime() + seconds * 300));
    const [died = new Date(), restarted = new Date(), diedAgain = new Date()] = times;
    const first = { ...running, state: ContainerState.RESTARTING, lastExit: exit(3, died) };
    const second = { state: ContainerState.EXITED, restarts: 1, startTime: restarted, lastExit: exit(3, diedAgain) };
    plane.agent.set(uid, { container: { ...running, ...second } });
    const observe = (value: ContainerStatus) =>
      plane.observe({ uid, workload: name, happened: { $case: "container", value } });
    await observe(first);
    await isIn(ContainerState.RESTARTING);
    await observe({ ...running, ...second });
    await isIn(ContainerState.EXITED);
    const told = ["created", "started", "exited", "restarted", "exited"];
    expect(await plane.happened(name)).toEqual(told);
    await observe(running);
    await observe(first);
    await plane.sees(uid, { health: "CONTAINER_HEALTH_HEALTHY" });
    await eventually(async () => (await container.get()).health === "CONTAINER_HEALTH_HEALTHY");
    expect(await container.get()).toMatchObject({ state: ContainerState.EXITED, lastExit: { time: diedAgain } });
    expect(await plane.happened(name)).toEqual([...told, "healthy"]);
  });
});

describe("what may change", () => {
  test("restart policy, checkpoint type and labels; its host knows of the policy", async () => {
    const { uid } = await container.made({ start: true });
    const restart = { mode: RestartPolicy_Mode.ON_FAILURE, maxRetries: 3 };
    const changed = await plane.containers.updateContainer({
      name,
      restart,
      checkpointType: CheckpointType.STANDARD,
      labels: { tier: "web" },
    });
    expect(changed).toMatchObject({
      spec: { restart, checkpointType: CheckpointType.STANDARD },
      labels: { tier: "web" },
      operation: "",
    });
    expect(plane.agent.effectsOn(uid)).toEqual(["createContainer", "updateContainer"]);
    await plane.containers.updateContainer({ name, restart, labels: { tier: "" } });
    expect((await container.get()).labels).toEqual({});
    expect(plane.agent.effectsOn(uid)).toHaveLength(2);
    expect(await plane.happened(name)).toEqual([
      ...[
        "created",
        "started",
        "restart_policy_changed",
        "checkpoint_type_changed",
        "labels_changed",
        "labels_changed",
      ],
    ]);
  });

  test("a policy that its host does not take stays as it was", async () => {
    await container.made();
    plane.agent.failing.set("updateContainer", new StillpointError("ENGINE_FAILED", "the engine said no"));
    const update = plane.containers.updateContainer({ name, restart: { mode: RestartPolicy_Mode.ALWAYS } });
    await expect(update).rejects.toMatchObject({ reason: "ENGINE_FAILED", message: "the engine said no" });
    expect(await container.get()).toMatchObject({ operation: "", spec: { restart: { mode: RestartPolicy_Mode.NO } } });
  });
});
