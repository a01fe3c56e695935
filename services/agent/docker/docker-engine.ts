import type { Readable } from "node:stream";
import Dockerode from "dockerode";
import type { ContainerStats, RestartPolicy } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type {
  ContainerEngine,
  ContainerRecipe,
  EngineEvent,
  EngineFacts,
  EngineImages,
  EventSpan,
  ExecCommand,
  ExecSession,
  LogOptions,
  LogPiece,
  SeenContainer,
  SeenState,
} from "../container-engine.ts";
import { createOptions, restartPolicy } from "./create-options.ts";
import { getStream } from "./dial.ts";
import { eventOf } from "./docker-events.ts";
import { startExec } from "./docker-exec.ts";
import { dockerImages } from "./docker-images.ts";
import { readLogs } from "./docker-logs.ts";
import { saveMemory, startFromMemory } from "./docker-memory.ts";
import { type DockerStats, statsOf } from "./docker-stats.ts";
import { askEngine, askUnless, COPY_MS, END_MS, engineError } from "./engine-error.ts";
import { readJsonLines } from "./frames.ts";
import { labelsOf, ofHost, UID_LABEL } from "./labels.ts";
import { probeDocker } from "./probe.ts";
import { lookAt, readSmallFile } from "./read-file.ts";
import { unpause } from "./unpause.ts";

export interface DockerEngineOptions {
  readonly socketPath: string;
  /** Its containers, networks and volumes carry it as a label: the data folder's host-uid. */
  readonly hostData: string;
}

/** Docker Engine by its API, on a socket of this host. */
export class DockerEngine implements ContainerEngine {
  readonly images: EngineImages;
  readonly #docker: Dockerode;
  readonly #hostData: string;

  constructor({ socketPath, hostData }: DockerEngineOptions) {
    this.#docker = new Dockerode({ socketPath });
    this.#hostData = hostData;
    this.images = dockerImages(this.#docker);
  }

  async probe(): Promise<EngineFacts> {
    return await probeDocker(this.#docker);
  }

  async create(recipe: ContainerRecipe): Promise<void> {
    const options = createOptions(recipe, this.#hostData);
    await askUnless([409], `creating ${recipe.uid}`, async () => this.#docker.createContainer(options));
  }

  async start(uid: string): Promise<boolean> {
    const started = await askUnless([304], `starting ${uid}`, async () => this.#docker.getContainer(uid).start());
    return started !== undefined;
  }

  async stop(uid: string, graceSeconds: number): Promise<void> {
    const stop = async () => this.#docker.getContainer(uid).stop({ t: graceSeconds });
    await askUnless([304], `stopping ${uid}`, stop, graceSeconds * 1_000 + END_MS);
  }

  async kill(uid: string, signal: string): Promise<void> {
    await askEngine(`killing ${uid}`, async () => this.#docker.getContainer(uid).kill({ signal }));
  }

  async remove(uid: string): Promise<void> {
    const filters = { label: [ofHost(this.#hostData), `${UID_LABEL}=${uid}`] };
    const what = `removing ${uid}`;
    // One that is being moved may be there for another host's agent, which shares this engine.
    const ours = await askEngine(what, async () => this.#docker.listContainers({ all: true, filters }));
    if (ours.length === 0) return;
    const options = { force: true, v: true };
    await askUnless([404], what, async () => this.#docker.getContainer(uid).remove(options), END_MS);
  }

  async pause(uid: string): Promise<void> {
    await askEngine(`pausing ${uid}`, async () => this.#docker.getContainer(uid).pause());
  }

  async unpause(uid: string): Promise<void> {
    await unpause(this.#docker, uid);
  }

  async setRestart(uid: string, restart: RestartPolicy): Promise<void> {
    const RestartPolicy = restartPolicy(restart);
    await askEngine(`changing ${uid}`, async () => this.#docker.getContainer(uid).update({ RestartPolicy }));
  }

  async find(uid: string): Promise<SeenContainer | undefined> {
    const seen = await askUnless([404], `looking at ${uid}`, async () => this.#docker.getContainer(uid).inspect());
    return seen === undefined ? undefined : describe(seen);
  }

  async list(): Promise<Map<string, SeenState>> {
    const options = { all: true, filters: { label: [ofHost(this.#hostData)] } };
    const all = await askEngine("listing containers", async () => this.#docker.listContainers(options));
    return new Map(all.map(({ Labels, State }) => [Labels[UID_LABEL] ?? "", stateOf(State)]));
  }

  async readFile(uid: string, path: string): Promise<Buffer | undefined> {
    return await readSmallFile(this.#docker, uid, path);
  }

  async look(uid: string, path: string) {
    return await lookAt(this.#docker, uid, path);
  }

  async commit(
    uid: string,
    { repository, tag }: { readonly repository: string; readonly tag: string },
  ): Promise<string> {
    const options = { repo: repository, tag, pause: false };
    const commit = async () => this.#docker.getContainer(uid).commit(options);
    const made = await askEngine(`committing ${uid}`, commit, COPY_MS);
    return (made as { readonly Id: string }).Id;
  }

  async saveMemory(uid: string, folder: string): Promise<void> {
    await saveMemory(this.#docker, uid, folder);
  }

  async startFromMemory(uid: string, folder: string): Promise<void> {
    await startFromMemory(this.#docker, uid, folder);
  }

  async exec(uid: string, command: ExecCommand): Promise<ExecSession> {
    return await startExec(this.#docker, uid, command);
  }

  logs(uid: string, options: LogOptions): AsyncIterable<LogPiece> {
    return readLogs(this.#docker, uid, options);
  }

  async *stats(
    uid: string,
    { follow, signal }: { readonly follow: boolean; readonly signal: AbortSignal },
  ): AsyncGenerator<ContainerStats> {
    const what = `measuring ${uid}`;
    const query = { stream: follow, "one-shot": !follow };
    try {
      const samples = await getStream(this.#docker, { path: `/containers/${uid}/stats`, query, signal });
      for await (const sample of readJsonLines(samples)) yield statsOf(sample as DockerStats);
    } catch (error) {
      if (!signal.aborted) throw engineError(what, error);
    }
  }

  async events({ since, until }: EventSpan, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const filters = JSON.stringify({ type: ["container"], label: [ofHost(this.#hostData)] });
    const query = { filters, since: seconds(since), ...(until !== undefined && { until: seconds(until) }) };
    const stream = await askEngine("hearing events", () => getStream(this.#docker, { path: "/events", query, signal }));
    return readEvents(stream, signal);
  }

  async volumePath(volume: string): Promise<string | undefined> {
    const seen = await askUnless([404], `volume ${volume}`, async () => this.#docker.getVolume(volume).inspect());
    return seen?.Mountpoint;
  }

  async createVolume(uid: string, volume: string): Promise<void> {
    const options = { Name: volume, Driver: "local", Labels: labelsOf(this.#hostData, uid) };
    await askEngine(`making volume ${volume}`, async () => this.#docker.createVolume(options));
  }

  async removeVolumes(uid: string): Promise<void> {
    const filters = JSON.stringify({ label: [ofHost(this.#hostData), `${UID_LABEL}=${uid}`] });
    const what = `removing the volumes of ${uid}`;
    const { Volumes } = await askEngine(what, async () => this.#docker.listVolumes({ filters }));
    for (const { Name } of Volumes ?? []) {
      await askUnless([404], what, async () => this.#docker.getVolume(Name).remove(), END_MS);
    }
  }

  async createNetwork(name: string): Promise<void> {
    const options = { Name: name, CheckDuplicate: true, Driver: "bridge", Labels: labelsOf(this.#hostData) };
    await askUnless([409], `making network ${name}`, async () => this.#docker.createNetwork(options));
  }

  async networks(): Promise<string[]> {
    const options = { filters: { label: [ofHost(this.#hostData)] } };
    const all = await askEngine("listing networks", async () => this.#docker.listNetworks(options));
    return all.map(({ Name }) => Name);
  }

  async removeNetwork(name: string): Promise<void> {
    await askUnless([403, 404], `removing network ${name}`, async () => this.#docker.getNetwork(name).remove());
  }
}

async function* readEvents(stream: Readable, signal: AbortSignal): AsyncGenerator<EngineEvent> {
  try {
    for await (const line of readJsonLines(stream)) {
      const event = eventOf(line);
      if (event !== undefined) yield event;
    }
  } catch (error) {
    if (!signal.aborted) throw engineError("hearing events", error);
  }
}

function describe({ Id, State, Image, RestartCount }: Dockerode.ContainerInspectInfo): SeenContainer {
  return {
    id: Id,
    state: stateOf(State.Status),
    imageId: Image,
    exitCode: State.ExitCode,
    outOfMemory: State.OOMKilled,
    error: State.Error,
    startTime: time(State.StartedAt),
    endTime: time(State.FinishedAt),
    restarts: RestartCount,
    health: healthOf(State.Health?.Status),
    pid: State.Pid,
  };
}

function stateOf(state: string): SeenState {
  const states: readonly SeenState[] = ["created", "running", "paused", "restarting", "exited", "dead"];
  const known = states.find((name) => name === state);
  if (known !== undefined) return known;
  if (state === "removing") return "dead";
  throw new StillpointError("ENGINE_FAILED", `the engine calls a container's state ${JSON.stringify(state)}`);
}

function healthOf(status: string | undefined): SeenContainer["health"] {
  return status === "starting" || status === "healthy" || status === "unhealthy" ? status : undefined;
}

const seconds = (nanos: number) => (nanos / 1e9).toFixed(9);

/** Docker says the year 1 for never. */
function time(text: string): Date | undefined {
  const at = new Date(text);
  return at.getTime() > 0 ? at : undefined;
}
