import { once } from "node:events";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { reach } from "./reach.ts";

test("a server is reached also when this process was busy for longer than it waits", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const reached = reach(`127.0.0.1:${port}`, 20);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  await expect(reached).resolves.toBeUndefined();
  server.close();
});
