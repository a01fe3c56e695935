import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  type GetOperationRequest,
  OperationsDefinition,
  type OperationsServiceImplementation,
} from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import { silentLogger } from "#libs/logger";
import { openNats } from "#libs/records";
import { type CallScope, RpcServer } from "#libs/rpc";
import { freePort, partialService, startNats, startRedis, temporaryFolder } from "#libs/testing";
import { repository } from "../harness/command.ts";
import { costOf } from "../harness/process-cost.ts";
import { SupervisedProcess } from "../harness/supervised-process.ts";

/** One service as its own process, started as it is deployed, on real servers that sync each write. */
export interface ServiceStage extends AsyncDisposable {
  readonly address: string;
  readonly nats: NatsConnection;
  /** Starts the service. */
  start(): void;
  /** Seconds of CPU that it has taken so far. */
  cpuSeconds(): Promise<number>;
  residentMib(): Promise<number>;
}

export async function openStage(service: "scheduler" | "vm"): Promise<ServiceStage> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const server = stack.use(await startNats({ syncAlways: true }));
  const redis = stack.use(await startRedis());
  const address = `127.0.0.1:${await freePort()}`;
  const others = stack.use(await serveOperations());
  const environment = {
    ...{ NATS_URL: server.url, REDIS_URL: redis.url, STILLPOINT_ADDRESS: others.address },
    [`${service.toUpperCase()}_ADDRESS`]: address,
    ...{ STILLPOINT_SERVICE: service, STILLPOINT_ROOT: repository },
    ...{ LOG_LEVEL: "warn", CPU_OVERCOMMIT: "1", HOST_MEMORY_RESERVED_MIB: "0" },
  };
  const nats = await openNats({ url: server.url });
  stack.defer(() => nats.close());
  let running: SupervisedProcess | undefined;
  const owned = stack.move();
  const start = () => {
    const argv = [join(repository, "deploy/image/start")];
    running = owned.use(SupervisedProcess.run(() => ({ argv, env: environment }), join(folder, "service.log")));
  };
  const cost = () => costOf(running?.pid ?? 0);
  return {
    ...{ address, nats, start },
    cpuSeconds: async () => (await cost()).cpuSeconds,
    residentMib: async () => (await cost()).residentMib,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Says of every operation that it is under way: whatever a service reserves for one stays. */
async function serveOperations(): Promise<{ address: string } & AsyncDisposable> {
  const getOperation = async ({ name }: GetOperationRequest) => ({ name, done: false });
  const handlers = partialService<OperationsServiceImplementation<CallScope>>(OperationsDefinition, { getOperation });
  const server = new RpcServer({ logger: silentLogger }).add(OperationsDefinition, handlers);
  return { address: await server.listen("127.0.0.1:0"), [Symbol.asyncDispose]: () => server.close() };
}

/** Waits until a service that was started answers. */
export async function untilServing(ask: () => Promise<unknown>): Promise<void> {
  for (const end = performance.now() + 120_000; performance.now() < end; await sleep(20)) {
    const isServing = await ask().then(
      () => true,
      (error: unknown) => {
        if (isStillpointError(error, "UNAVAILABLE")) return false;
        throw error;
      },
    );
    if (isServing) return;
  }
  throw new Error("the service does not answer");
}
