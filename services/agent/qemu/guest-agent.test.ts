import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { GuestAgentChannel } from "./guest-agent.ts";

test("a guest that sends without end is cut off, and does not fill the host's memory", async () => {
  await using folder = temporaryFolder();
  const path = join(folder.path, "agent.sock");
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    const flood = () => {
      while (socket.writable && socket.write(Buffer.alloc(2 ** 20, "x")));
    };
    socket.on("drain", flood);
    flood();
  });
  server.listen(path);
  await once(server, "listening");
  const channel = new GuestAgentChannel(path);
  await expect(channel.call("guest-info", undefined, 60_000)).rejects.toThrow("was lost");
  channel.close();
  server.close();
}, 30_000);
