import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { expect, test } from "vitest";
import { Intake } from "./intake.ts";

const MIB = 2 ** 20;

/** Everything that comes, through a buffer of that size. */
async function takeAll(intake: Intake, bufferBytes: number): Promise<Buffer> {
  const taken: Buffer[] = [];
  const buffer = Buffer.alloc(bufferBytes);
  for (let filled = bufferBytes; filled === bufferBytes; ) {
    filled = await intake.fill(buffer);
    taken.push(Buffer.from(buffer.subarray(0, filled)));
  }
  return Buffer.concat(taken);
}

test.each([1, 7, 10, 64])("fills buffers of %i bytes from pieces of any size, and hashes them", async (bufferBytes) => {
  const pieces = [3, 1, 10, 25, 1].map((size) => randomBytes(size));
  const whole = Buffer.concat(pieces);
  const hash = createHash("sha256");
  using intake = new Intake(Readable.from(pieces), { hash, maxBytes: whole.length });
  expect(await intake.isOver()).toBe(false);
  expect((await takeAll(intake, bufferBytes)).equals(whole)).toBe(true);
  expect([await intake.isOver(), intake.sizeBytes]).toEqual([true, whole.length]);
  expect(hash.digest("hex")).toBe(createHash("sha256").update(whole).digest("hex"));
});

test("refuses one byte too many, and leaves the body to whoever answers", async () => {
  const body = new PassThrough();
  body.write(randomBytes(10));
  body.write(randomBytes(1));
  {
    using intake = new Intake(body, { maxBytes: 10 });
    await expect(takeAll(intake, 64)).rejects.toMatchObject({ code: "SIZE_INVALID", status: 413 });
  }
  expect([body.destroyed, body.listenerCount("data")]).toEqual([false, 0]);
});

test("a body that is empty is over; one that breaks off fails", async () => {
  using empty = new Intake(Readable.from([]), { maxBytes: 1 });
  expect(await empty.isOver()).toBe(true);
  const body = new PassThrough();
  using broken = new Intake(body, { maxBytes: 100 });
  body.write("some");
  const filling = broken.fill(Buffer.alloc(10));
  body.destroy();
  await expect(filling).rejects.toThrow("Premature close");
});

test("what a request brings takes no memory once it is taken", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = request({ port, host: "127.0.0.1", method: "PUT", headers: { "content-length": 64 * MIB } });
  client.on("error", () => {});
  const sent = Buffer.alloc(64 * MIB);
  const asked = once(server, "request");
  client.end(sent);
  const [body] = (await asked) as [IncomingMessage];
  using intake = new Intake(body, { maxBytes: 64 * MIB });
  const buffer = Buffer.alloc(MIB);
  const before = process.memoryUsage().arrayBuffers;
  for (let filled = MIB; filled === MIB; ) filled = await intake.fill(buffer);
  expect(intake.sizeBytes).toBe(64 * MIB);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * MIB);
  server.closeAllConnections();
  server.close();
});
