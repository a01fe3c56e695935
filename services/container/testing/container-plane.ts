import {
  type Container,
  ContainerSpec,
  ContainerState,
  type ContainersClient,
  ContainersDefinition,
} from "#contracts/container/v1/container";
import { ContainerStatus, Workload } from "#contracts/host/v1/agent";
import { createRpcClient } from "#libs/rpc";
import { type Effect, startTestControlPlane, type TestControlPlane } from "#libs/workload-testing";
import { readContainerConfig } from "../config.ts";
import { startContainer } from "../service.ts";
import { standInContainerAgent } from "./stand-in-container-agent.ts";

/** The real container service on real servers, and a client of it. */
export interface ContainerPlane extends TestControlPlane {
  readonly containers: ContainersClient;
  /** Puts a container into another state on its host, as if that had happened by itself; the agent tells of it. */
  sees(uid: string, change: Partial<ContainerStatus>): Promise<void>;
}

const keyInTest = Buffer.alloc(32, 7).toString("base64");

export async function startContainerPlane(): Promise<ContainerPlane> {
  const plane = await startTestControlPlane({
    word: "container",
    effect,
    serve: standInContainerAgent,
    start: (env, lifecycle, server) =>
      startContainer(readContainerConfig({ ...env, STILLPOINT_SECRETS_KEY: keyInTest }), lifecycle, { server }),
  });
  const client = createRpcClient(ContainersDefinition, plane.address);
  const containers = plane.lifecycle.add("client", client, (it) => it.close());
  const sees = async (uid: string, change: Partial<ContainerStatus>) => {
    const { name, container } = plane.agent.workloads.get(uid) ?? Workload.fromPartial({});
    const value = ContainerStatus.fromPartial({ ...container, ...change });
    plane.agent.set(uid, { container: value });
    await plane.observe({ uid, workload: name, happened: { $case: "container", value } });
  };
  return Object.assign(plane, { containers, sees });
}

/** What a host does to a container, as far as its state tells. Times grow by a second with each start and end. */
const effect: Effect = ({ uid, action }, before) => {
  if (action?.$case === "deleteContainer") return undefined;
  if (action?.$case === "createContainer") {
    const { definition, start } = action.value;
    const container = start ? changes.startContainer?.(later(before)) : { state: ContainerState.STOPPED };
    return Workload.fromPartial({ uid, name: definition?.name ?? "", container: { ...container } });
  }
  const change = changes[action?.$case ?? ""]?.(later(before)) ?? {};
  return Workload.fromPartial({ ...before, container: { ...before?.container, ...change } });
};

const changes: Readonly<Record<string, (now: Date) => Partial<ContainerStatus>>> = {
  startContainer: (startTime) => ({ state: ContainerState.RUNNING, startTime, restarts: 0 }),
  stopContainer: (now) => ({ state: ContainerState.STOPPED, lastExit: exit(143, now) }),
  killContainer: (now) => ({ state: ContainerState.STOPPED, lastExit: exit(137, now) }),
};

/** A time after everything that has happened to it. */
export function later(workload: Workload | undefined): Date {
  const { startTime, lastExit } = workload?.container ?? {};
  return new Date(Math.max(startTime?.getTime() ?? 0, lastExit?.time?.getTime() ?? 1_700_000_000_000) + 1_000);
}

export const exit = (exitCode: number, time: Date, outOfMemory = false) => ({ exitCode, outOfMemory, error: "", time });

/** A name that no container has had, with what a test asks of it. */
export interface NewContainer {
  readonly name: string;
  readonly containerId: string;
  /** A request that is right, but for what the test says otherwise. */
  asked(differs?: Partial<ContainerSpec>): { parent: string; containerId: string; spec: ContainerSpec };
  /** Makes it and gives it. */
  made(options?: { start?: boolean; spec?: Partial<ContainerSpec> }): Promise<Container>;
  get(): Promise<Container>;
}

let count = 0;

/** Also makes the stand-ins work again that a test before has made fail. */
export function newContainer(plane: ContainerPlane): NewContainer {
  plane.placeFailure = undefined;
  plane.agent.failing.clear();
  plane.agent.holding.clear();
  const containerId = `c-${++count}`;
  const name = `projects/default/containers/${containerId}`;
  const asked = (differs: Partial<ContainerSpec> = {}) => ({
    parent: "projects/default",
    containerId,
    spec: ContainerSpec.fromPartial({ image: "web:1", ...differs }),
  });
  const get = () => plane.containers.getContainer({ name });
  const made = async ({ start = false, spec = {} }: { start?: boolean; spec?: Partial<ContainerSpec> } = {}) => {
    await plane.succeeded(await plane.containers.createContainer({ ...asked(spec), start }));
    return get();
  };
  return { name, containerId, asked, made, get };
}
