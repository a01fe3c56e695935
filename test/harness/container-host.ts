import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { NatsConnection } from "@nats-io/transport-node";
import type { ContainerSpec } from "#contracts/container/v1/container";
import { type ContainerStatus, Heartbeat, Observation, type StepResult } from "#contracts/host/v1/agent";
import { ContainerAgentDefinition } from "#contracts/host/v1/container_agent";
import { Lifecycle } from "#libs/lifecycle";
import { openNats, openStreams } from "#libs/records";
import { createRpcClient, type RpcClient } from "#libs/rpc";
import {
  dockerEngine,
  engineLeftovers,
  eventually,
  startNats,
  startRedis,
  type TestEngine,
  temporaryFolder,
} from "#libs/testing";
import type { StepAction } from "../../services/agent/steps/step-runner.ts";
import { AgentProcess } from "../../services/agent/testing/agent-process.ts";
import { containerDefinition } from "../../services/agent/testing/container-definition.ts";
import { readRegistryConfig } from "../../services/registry/config.ts";
import { startRegistry } from "../../services/registry/service.ts";
import { pushImage } from "../images/build.ts";
import { EngineLink } from "./engine-link.ts";

export interface TestContainer extends AsyncDisposable {
  readonly uid: string;
  readonly name: string;
  act(action: StepAction): Promise<StepResult>;
  start(): Promise<StepResult>;
  stop(timeoutSeconds?: number): Promise<StepResult>;
  kill(signal: string): Promise<StepResult>;
  status(): Promise<ContainerStatus>;
  /** Waits until the agent says that of it. */
  becomes(wanted: Partial<ContainerStatus>): Promise<ContainerStatus>;
  /** What the agent has told of it, oldest first. */
  told(): Observation[];
  /** Runs a command in it; gives its exit code and what it printed. */
  run(...command: string[]): Promise<{ readonly code: number; readonly text: string }>;
  logs(): Promise<string>;
}

/** A host with an agent in a process of its own, a registry, and a Docker engine that can be cut off. */
export class ContainerHost implements AsyncDisposable {
  readonly engine: TestEngine;
  readonly agent: AgentProcess;
  readonly folder: string;
  readonly client: RpcClient<typeof ContainerAgentDefinition>;
  /** host:port */
  readonly registry: string;
  readonly link: EngineLink;
  readonly observations: Observation[] = [];
  /** As its last heartbeat has them. */
  capabilities: readonly string[] = [];
  readonly #resources: AsyncDisposableStack;

  private constructor(given: {
    readonly engine: TestEngine;
    readonly link: EngineLink;
    readonly agent: AgentProcess;
    readonly folder: string;
    readonly registry: string;
    readonly resources: AsyncDisposableStack;
  }) {
    this.engine = given.engine;
    this.link = given.link;
    this.agent = given.agent;
    this.folder = given.folder;
    this.registry = given.registry;
    this.#resources = given.resources;
    this.client = createRpcClient(ContainerAgentDefinition, `unix:${join(given.folder, "agent/agent.sock")}`);
  }

  /** @param settings of the agent, beside those that it needs; they may name things in the host's folder */
  static async start(
    settings: (folder: string) => Readonly<Record<string, string>> = () => ({}),
  ): Promise<ContainerHost> {
    const resources = new AsyncDisposableStack();
    const engine = resources.use(await dockerEngine());
    const folder = resources.use(temporaryFolder()).path;
    const nats = resources.use(await startNats());
    const redis = resources.use(await startRedis());
    const connection = resources.adopt(await openNats({ url: nats.url }), (opened) => opened.close());
    await openStreams(connection);
    const lifecycle = resources.adopt(new Lifecycle(), (it) => it.close());
    const config = readRegistryConfig({
      ...{ REDIS_URL: redis.url, NATS_URL: nats.url, LOG_LEVEL: "warn", REGISTRY_DATA: join(folder, "registry") },
      ...{ REGISTRY_ADDRESS: "127.0.0.1:0", REGISTRY_HTTP_ADDRESS: "127.0.0.1:0" },
    });
    const { httpAddress: registry } = await startRegistry(config, lifecycle);
    const link = resources.use(new EngineLink(engine.socketPath, join(folder, "engine.sock")));
    await link.restore();
    const agent = new AgentProcess({
      ...{ AGENT_DATA: join(folder, "agent"), NATS_URL: nats.url, LOG_LEVEL: "error" },
      ...{ AGENT_DOCKER_HOST: `unix://${link.path}`, REGISTRY_HTTP_URL: `http://${registry}`, ...settings(folder) },
    });
    await agent.start();
    resources.defer(() => agent.end("SIGTERM"));
    const host = new ContainerHost({ engine, link, agent, folder, registry, resources });
    host.#listen(connection);
    return host;
  }

  /** Puts an image of the engine into the registry; gives `<repository>@sha256:...`. */
  async push(tag: string, repository: string): Promise<string> {
    const pushed = await pushImage(this.engine, tag, this.registry, repository);
    return pushed.slice(`${this.registry}/`.length);
  }

  /** Containers and volumes of this host in the engine, one line each. */
  async leftovers(): Promise<string[]> {
    const all = await engineLeftovers(this.engine.docker, await this.#hostData());
    return all.filter((line) => !line.startsWith("network"));
  }

  /** Has the agent make a container; going out of scope deletes it. */
  async create(image: string, change: Partial<ContainerSpec> = {}, name?: string): Promise<TestContainer> {
    const definition = containerDefinition(image, change, name);
    const container = this.container(definition.uid, definition.name);
    try {
      await container.act({ $case: "createContainer", value: { definition, start: false } });
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
    return container;
  }

  container(uid: string, name = ""): TestContainer {
    const act = (action: StepAction) => this.agent.host.act(uid, action);
    const status = async () => {
      const { container } = await this.agent.host.client.getWorkload({ uid });
      if (container === undefined) throw new Error(`${uid} is not a container`);
      return container;
    };
    return {
      ...{ uid, name, act, status },
      start: () => act({ $case: "startContainer", value: {} }),
      stop: (timeoutSeconds = 1) => act({ $case: "stopContainer", value: { timeoutSeconds } }),
      kill: (signal) => act({ $case: "killContainer", value: { signal } }),
      becomes: (wanted) => eventually(async () => matching(await status(), wanted), { deadlineMs: 20_000 }),
      told: () => this.observations.filter((observation) => observation.uid === uid),
      run: (...command) => this.#run(uid, command),
      logs: () => this.#logs(uid),
      [Symbol.asyncDispose]: async () => void (await act({ $case: "deleteContainer", value: {} })),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    const hostData = await this.#hostData();
    await this.#resources.disposeAsync();
    await this.#removeAll(hostData);
  }

  /** What everything that it makes carries as a label. */
  async #hostData(): Promise<string> {
    return (await readFile(join(this.folder, "agent/host-uid"), "utf8")).trim();
  }

  /** Also what a test that failed has left. */
  async #removeAll(hostData: string): Promise<void> {
    const { docker } = this.engine;
    const filters = { label: [`io.stillpoint.host-data=${hostData}`] };
    for (const { Id } of await docker.listContainers({ all: true, filters })) {
      await docker.getContainer(Id).remove({ force: true, v: true });
    }
    for (const { Id } of await docker.listNetworks({ filters })) await docker.getNetwork(Id).remove();
    const { Volumes } = await docker.listVolumes({ filters: JSON.stringify(filters) });
    for (const { Name } of Volumes ?? []) await docker.getVolume(Name).remove();
    const names = (await docker.listImages({ digests: true })).flatMap(({ RepoDigests }) => RepoDigests ?? []);
    const pulled = names.filter((name) => name.startsWith(`${this.registry}/`));
    for (const name of pulled) await docker.getImage(name).remove();
  }

  async #run(uid: string, command: string[]) {
    async function* requests() {
      yield { start: { name: uid, command }, stdinClosed: true };
    }
    let text = "";
    let code = -1;
    for await (const { stdout, stderr, exitCode } of this.client.execContainer(requests())) {
      text += Buffer.concat([stdout, stderr]).toString("utf8");
      code = exitCode ?? code;
    }
    return { code, text };
  }

  async #logs(uid: string): Promise<string> {
    let text = "";
    for await (const { stdout, stderr } of this.client.getContainerLogs({ name: uid })) {
      text += Buffer.concat([stdout, stderr]).toString("utf8");
    }
    return text;
  }

  #listen(nats: NatsConnection): void {
    const heartbeats = nats.subscribe("hb.host.v1.*");
    void (async () => {
      for await (const message of heartbeats) this.capabilities = Heartbeat.fromJSON(message.json()).capabilities;
    })();
    const subscription = nats.subscribe("obs.container.>");
    void (async () => {
      for await (const message of subscription) this.observations.push(Observation.fromJSON(message.json()));
    })();
  }
}

/** Throws, for `eventually`, unless it is as wanted. */
function matching(status: ContainerStatus, wanted: Partial<ContainerStatus>): ContainerStatus {
  for (const [key, value] of Object.entries(wanted)) {
    if (status[key as keyof ContainerStatus] !== value) throw new Error(`it is ${JSON.stringify(status)}`);
  }
  return status;
}
