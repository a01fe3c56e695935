import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { silentLogger } from "#libs/logger";
import { RpcServer } from "#libs/rpc";
import { operations } from "./testing/served.ts";

test("a foreign client can ask which services there are", async () => {
  const server = new RpcServer({ logger: silentLogger }).add(OperationsDefinition, operations({}));
  const address = await server.listen("127.0.0.1:0");
  const list = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--list-services", `http://${address}`];
  const { stdout } = await promisify(execFile)("node_modules/.bin/buf", list);
  await server.close();
  expect(stdout.trim().split("\n")).toEqual(["stillpoint.operation.v1.Operations"]);
});
