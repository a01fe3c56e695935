import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ContainerSpec, ContainerState } from "#contracts/container/v1/container";
import { Lifecycle } from "#libs/lifecycle";
import { openNats, openStreams } from "#libs/records";
import { dockerEngine, eventually, startNats, startRedis, type TestEngine, temporaryFolder } from "#libs/testing";
import { AgentProcess } from "../../services/agent/testing/agent-process.ts";
import { containerDefinition } from "../../services/agent/testing/container-definition.ts";
import { readRegistryConfig } from "../../services/registry/config.ts";
import { startRegistry } from "../../services/registry/service.ts";
import { busyboxImage, pushImage } from "../images/build.ts";

const resources = new AsyncDisposableStack();
let engine: TestEngine;
let agent: AgentProcess;
let image: string;

beforeAll(async () => {
  engine = resources.use(await dockerEngine());
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const redis = resources.use(await startRedis());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  const lifecycle = resources.adopt(new Lifecycle(), (it) => it.close());
  const config = readRegistryConfig({
    ...{ REDIS_URL: redis.url, NATS_URL: nats.url, LOG_LEVEL: "warn", REGISTRY_DATA: join(folder.path, "registry") },
    ...{ REGISTRY_ADDRESS: "127.0.0.1:0", REGISTRY_HTTP_ADDRESS: "127.0.0.1:0" },
  });
  const { httpAddress } = await startRegistry(config, lifecycle);
  const pushed = await pushImage(engine, await busyboxImage(engine), httpAddress, "busybox");
  image = pushed.slice(`${httpAddress}/`.length);
  agent = new AgentProcess({
    ...{ AGENT_DATA: join(folder.path, "agent"), NATS_URL: nats.url, LOG_LEVEL: "info" },
    ...{ AGENT_DOCKER_HOST: `unix://${engine.socketPath}`, REGISTRY_HTTP_URL: `http://${httpAddress}` },
  });
  await agent.start();
}, 60_000);

afterAll(async () => {
  await agent?.end("SIGTERM");
  await resources.disposeAsync();
});

async function create(change: Partial<ContainerSpec> = {}, name?: string) {
  const definition = containerDefinition(image, change, name);
  const { host } = agent;
  await host.act(definition.uid, { $case: "createContainer", value: { definition } });
  return {
    ...definition,
    start: () => host.act(definition.uid, { $case: "startContainer", value: {} }),
    status: async () => (await host.client.getWorkload({ uid: definition.uid })).container,
    [Symbol.asyncDispose]: async () => void (await host.act(definition.uid, { $case: "deleteContainer", value: {} })),
  };
}

test("a container is made, started, stopped and deleted, and nothing is left", async () => {
  {
    await using container = await create({ volumes: [] });
    const { workload } = await container.start();
    expect(workload?.container).toMatchObject({ state: ContainerState.RUNNING, restarts: 0 });
    await agent.host.act(container.uid, { $case: "stopContainer", value: { timeoutSeconds: 1 } });
    await eventually(async () => (await container.status())?.state === ContainerState.STOPPED);
  }
});
