import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerSpec, type ContainerState, type RestartPolicy_Mode } from "#contracts/container/v1/container";
import { isStillpointError } from "#libs/errors";
import { dockerEngine, eventually, isLong, type TestEngine, temporaryFolder } from "#libs/testing";
import { type Cluster, type ServiceName, startCluster } from "../harness/cluster.ts";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { busyboxImage, pushImage } from "../images/build.ts";
import { diesAt } from "./dies-at.ts";
import { draw } from "./draw.ts";
import { faultRuns, runSeed } from "./fault-run.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";

const parent = "projects/default";

/** The steps of each job in the life of a container, by the process that runs them. */
const steps = {
  create: ["container.create.place", "container.create.make", "agent.create-container"],
  start: ["container.start.start", "agent.start-container"],
  stop: ["container.stop.stop", "agent.stop-container"],
  kill: ["container.kill.kill", "agent.kill-container"],
  update: ["container.update.update", "agent.update-container"],
  delete: ["container.delete.destroy", "container.delete.release", "agent.delete-container"],
} as const;
type Job = keyof typeof steps;
const jobs = Object.keys(steps) as Job[];

const points = jobs.flatMap((job) => [
  ...steps[job].flatMap((step) => ["before", "after", "committed"].map((moment) => ({ job, at: `${step}.${moment}` }))),
  ...["before", "after"].map((moment) => ({ job, at: `container.${job}.conclude.${moment}` })),
]);
// Made, and not started yet.
points.push({ job: "create", at: "agent.create-container.made" });

/** In the short suite what was done on the host and not written yet, and some more. */
const isMust = ({ at }: (typeof points)[number]) => /^agent\..*\.(after|made)$/.test(at);
const others = points.filter((point) => !isMust(point));
const chosen = isLong ? points : [...points.filter(isMust), ...draw(others, runSeed, 6)];

describe(`kill -9 in a container's life, at ${chosen.length} of ${points.length} points`, () => {
  const stack = new AsyncDisposableStack();
  let engine: TestEngine;
  let cluster: Cluster;
  let failpoints: FailpointSwitch;
  const run = faultRuns(() => cluster);
  beforeAll(async () => {
    engine = stack.use(await dockerEngine());
    const folder = stack.use(temporaryFolder());
    const actions = Object.fromEntries(points.map(({ at }) => [at, "kill" as const]));
    failpoints = await FailpointSwitch.create(join(folder.path, "failpoints"), actions);
    const env = { STILLPOINT_FAILPOINTS: failpoints.specification, AGENT_DOCKER_HOST: `unix://${engine.socketPath}` };
    cluster = stack.use(await startCluster(env));
    stack.defer(deleteAll);
    await pushImage(engine, await busyboxImage(engine), new URL(cluster.registryUrl).host, "busybox");
  }, 240_000);
  afterAll(() => stack.disposeAsync());

  const nameOf = (id: string) => `${parent}/containers/${id}`;
  const list = async () => (await cluster.api.containers.listContainers({ parent })).containers;
  const deleteAll = async () => {
    for (const { name } of await list()) await remove(name);
  };
  const remove = (name: string) =>
    carryThrough(cluster, (requestId) => cluster.api.containers.deleteContainer({ name, force: true, requestId }));
  const create = (containerId: string, start: boolean) => {
    const spec = ContainerSpec.fromPartial({
      image: "busybox",
      command: ["sleep", "1000"],
      limits: { cpuMillis: 100 },
      volumes: [{ volume: "data", path: "/data" }],
    });
    return carryThrough(cluster, (requestId) =>
      cluster.api.containers.createContainer({ parent, containerId, spec, start, requestId }),
    );
  };

  const act: Readonly<Record<Job, (id: string) => Promise<unknown>>> = {
    create: (id) => create(id, true),
    start: (id) =>
      carryThrough(cluster, (requestId) => cluster.api.containers.startContainer({ name: nameOf(id), requestId })),
    stop: (id) =>
      carryThrough(cluster, (requestId) =>
        cluster.api.containers.stopContainer({ name: nameOf(id), timeoutSeconds: -1, requestId }),
      ),
    kill: (id) =>
      carryThrough(cluster, (requestId) => cluster.api.containers.killContainer({ name: nameOf(id), requestId })),
    update: (id) =>
      untilAnswered(async () => {
        const restart = { mode: "MODE_ALWAYS" } as const;
        try {
          return await cluster.api.containers.updateContainer({ name: nameOf(id), restart });
        } catch (error) {
          // The one before goes on by itself.
          if (!isStillpointError(error, "TARGET_BUSY")) throw error;
          return undefined;
        }
      }),
    delete: (id) => remove(nameOf(id)),
  };

  const wanted: Readonly<Record<Exclude<Job, "delete">, readonly [ContainerState, RestartPolicy_Mode]>> = {
    create: ["CONTAINER_STATE_RUNNING", "MODE_NO"],
    start: ["CONTAINER_STATE_RUNNING", "MODE_NO"],
    stop: ["CONTAINER_STATE_STOPPED", "MODE_NO"],
    kill: ["CONTAINER_STATE_STOPPED", "MODE_NO"],
    update: ["CONTAINER_STATE_RUNNING", "MODE_ALWAYS"],
  };

  /** uids of all that there ever were. */
  const made = new Set<string>();
  /** What the engine has of the containers that there are, and of none that was; nothing held that is not there. */
  const settled = async (): Promise<true> => {
    const { operations } = await cluster.api.operations.listOperations({ unfinishedOnly: true });
    const containers = await list();
    for (const { uid } of containers) made.add(uid);
    const { hosts } = await cluster.api.hosts.listHosts({ withReservations: true });
    const seen = {
      operations: operations.map(({ kind }) => kind),
      held: containers.filter(({ operation }) => operation !== "").map(({ name }) => name),
      reserved: hosts.flatMap(({ reservations }) => reservations.map(({ uid }) => uid)).toSorted(),
      ...(await inEngine(engine, made)),
    };
    const uids = containers.map(({ uid }) => uid).toSorted();
    expect(seen).toEqual({ operations: [], held: [], reserved: uids, lives: uids, volumes: uids });
    return true;
  };

  test.for(chosen.map((point, i) => [`${rowOf(point)}: ${point.job}:${point.at}`, point, i] as const))(
    "%s",
    { timeout: 120_000 },
    async ([, { job, at }, i]) => {
      const id = `c-${i}`;
      if (job !== "create") await create(id, job !== "start");
      for (const { uid } of await list()) made.add(uid);
      const who = at.split(".")[0] as ServiceName;
      await diesAt({ run: run(), failpoints, at, victim: cluster.services[who], who }, () => act[job](id));
      await eventually(settled, { deadlineMs: 20_000, everyMs: 100 });
      await (job === "delete" ? expectGone(cluster, nameOf(id)) : expectState(cluster, nameOf(id), wanted[job]));
      if (job !== "delete") await remove(nameOf(id));
    },
  );
});

const rowOf = ({ at }: { readonly at: string }): string => (at.startsWith("agent.") ? "F3" : "F2");

/** Of those uids the ones whose container, and whose volumes, the engine has. */
async function inEngine({ docker }: TestEngine, uids: ReadonlySet<string>) {
  const all = await docker.listContainers({ all: true });
  const { Volumes } = await docker.listVolumes();
  const named = (text: string) => [...uids].filter((uid) => text.includes(uid));
  return {
    lives: all.flatMap(({ Names }) => named(Names.join())).toSorted(),
    volumes: Volumes.flatMap(({ Name }) => named(Name)).toSorted(),
  };
}

async function expectState(
  { api }: Cluster,
  name: string,
  [state, mode]: readonly [ContainerState, RestartPolicy_Mode],
) {
  const isSo = async () => {
    const { spec, ...container } = await api.containers.getContainer({ name });
    return container.state === state && spec?.restart?.mode === mode;
  };
  await eventually(isSo, { deadlineMs: 20_000 });
}

async function expectGone(cluster: Cluster, name: string): Promise<void> {
  const gone = untilAnswered(() => cluster.api.containers.getContainer({ name }));
  await expect(gone).rejects.toMatchObject({ reason: "CONTAINER_NOT_FOUND" });
}
