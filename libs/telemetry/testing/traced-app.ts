/** A gRPC call that publishes to NATS, whose subscriber writes to Redis: run by the telemetry test in its own process. */
import { connect, headers } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { silentLogger } from "#libs/logger";
import { type CallScope, closeRpcClients, createRpcClient, RpcServer } from "#libs/rpc";
import { extractHeaders, injectHeaders, stopTelemetry, withRemoteParent } from "#libs/telemetry";
import { partialService } from "#libs/testing";

const { NATS_URL = "", REDIS_URL = "" } = process.env;
const nats = await connect({ servers: NATS_URL });
const redis = new Redis(REDIS_URL);
const written = Promise.withResolvers<void>();

nats.subscribe("work", {
  callback: (_error, message) => {
    withRemoteParent(extractHeaders(message.headers), "process work", async () => {
      await redis.set("key", "value");
    }).then(written.resolve, written.reject);
  },
});

type Handlers = OperationsServiceImplementation<CallScope>;
const server = new RpcServer({ logger: silentLogger }).add(
  OperationsDefinition,
  partialService<Handlers>(OperationsDefinition, {
    async getOperation(_request, scope) {
      const head = headers();
      injectHeaders(head);
      nats.publish("work", "", { headers: head });
      return { traceparent: scope.traceparent ?? "" };
    },
  }),
);
const client = createRpcClient(OperationsDefinition, await server.listen("127.0.0.1:0"));
const { traceparent } = await client.getOperation({ name: "operations/x" });
await written.promise;
console.log(JSON.stringify({ traceparent }));

await closeRpcClients();
await server.close();
await nats.close();
redis.disconnect();
await stopTelemetry();
