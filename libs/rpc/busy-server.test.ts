import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { createRpcClient } from "#libs/rpc";
import { served } from "./testing/served.ts";

const lateMs = 300;

/** Accepts at once, as a kernel does, and lets the server behind it speak only later, as a busy one does. */
function late(port: number) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) sockets.add(socket.on("error", () => undefined));
    near.pipe(far);
    setTimeout(() => far.pipe(near), lateMs);
  });
  return {
    server,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

test("a server that is slow to greet is waited for, also by calls that are not tried again", async () => {
  await using rpc = await served({ cancelOperation: async ({ name }) => ({ name }) });
  await using proxy = late(Number(rpc.address.split(":")[1]));
  proxy.server.listen(0, "127.0.0.1");
  await once(proxy.server, "listening");
  const address = proxy.server.address();
  const client = createRpcClient(OperationsDefinition, `127.0.0.1:${typeof address === "object" ? address?.port : 0}`);
  try {
    expect(await client.cancelOperation({ name: "operations/x" })).toMatchObject({ name: "operations/x" });
  } finally {
    client.close();
  }
});
