import { expect, test } from "vitest";
import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { Lifecycle } from "#libs/lifecycle";
import { silentLogger } from "#libs/logger";
import { type CallScope, createRpcClient, RpcServer } from "#libs/rpc";
import { metricsAreServed, observeGauge, serveMetrics } from "#libs/telemetry";
import { partialService } from "#libs/testing";

test("without an address there are no metrics", async () => {
  expect(await serveMetrics({}, new Lifecycle())).toBeUndefined();
  expect(metricsAreServed()).toBe(false);
});

test("refuses to serve them to other machines", async () => {
  await expect(serveMetrics({ METRICS_ADDRESS: "0.0.0.0:7090" }, new Lifecycle())).rejects.toThrow("127.0.0.1");
});

test("served, they tell of the process, of its calls and of its health", async () => {
  const lifecycle = new Lifecycle();
  const address = await serveMetrics({ METRICS_ADDRESS: "127.0.0.1:0" }, lifecycle);
  type Handlers = OperationsServiceImplementation<CallScope>;
  let isWell = true;
  const statusOf = async (path: string) => (await fetch(`http://${address}${path}`)).status;
  expect(await statusOf("/health")).toBe(503);
  const server = new RpcServer({ logger: silentLogger, health: () => isWell }).add(
    OperationsDefinition,
    partialService<Handlers>(OperationsDefinition, { getOperation: async ({ name }) => ({ name }) }),
  );
  lifecycle.add("grpc", server, (it) => it.close());
  const client = createRpcClient(OperationsDefinition, await server.listen("127.0.0.1:0"));
  await client.getOperation({ name: "operations/x" });
  client.close();
  const readings = [{ value: 7, attributes: { vm: "web-1" } }];
  const gauge = { unit: "By", description: "What waits.", attributes: ["vm"], read: () => readings } as const;
  const forget = observeGauge({ name: "stillpoint.test.debt", ...gauge });
  const text = await (await fetch(`http://${address}/metrics`)).text();
  expect(text).toContain('stillpoint_test_debt_bytes{vm="web-1"} 7');
  forget();
  expect(await (await fetch(`http://${address}/metrics`)).text()).not.toContain("stillpoint_test_debt");
  expect(text).toContain("nodejs_eventloop_lag_seconds");
  expect(text).toMatch(/^grpc_server_handled_total\{.*grpc_method="GetOperation".*grpc_code="OK".*\} 1$/m);
  expect(await statusOf("/other")).toBe(404);
  expect(await statusOf("/health")).toBe(200);
  isWell = false;
  expect(await statusOf("/health")).toBe(503);
  await lifecycle.close();
});
