import { once } from "node:events";
import { mkdir, readdir } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "#libs/testing";
import { bytesSource } from "./blob-source.ts";
import { digestOf } from "./digest.ts";
import { clearRemovedPulls } from "./pulled-images.ts";
import { createRegistryClient } from "./registry-client.ts";

const content = Buffer.from("the content of a blob");
const blob = { mediaType: "x/y", digest: digestOf(content), size: content.length };
const clock = { now: () => new Date(), monotonicMs: () => 0, sleep: async () => {} };

/** A client of a server that answers as it is told, and the paths that were asked for. */
async function talkTo(answer: RequestListener) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const client = createRegistryClient({ address: `127.0.0.1:${port}`, clock });
  const close = async () => {
    client.close();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { client, asked, [Symbol.asyncDispose]: close };
}

describe("a registry client", () => {
  it("tries again when a connection breaks or the registry is busy, also in the middle of a body", async () => {
    let calls = 0;
    await using talk = await talkTo((_request, response) => {
      calls += 1;
      if (calls === 1) response.destroy();
      else if (calls === 2) response.writeHead(503).end();
      else if (calls === 3)
        response
          .writeHead(200, { "content-length": content.length })
          .write(content.subarray(0, 5), () => response.destroy());
      else response.end(content);
    });
    expect((await talk.client.readBlob("a", blob)).equals(content)).toBe(true);
    expect(talk.asked).toHaveLength(4);
  });

  it("gives up with one clear error", async () => {
    await using talk = await talkTo((_request, response) => response.destroy());
    await expect(talk.client.putBlob("a", bytesSource(content))).rejects.toMatchObject({
      reason: "REGISTRY_UNREACHABLE",
    });
    const nobody = createRegistryClient({ address: "http://127.0.0.1:1", clock });
    await expect(nobody.hasBlob("a", blob.digest)).rejects.toMatchObject({ reason: "REGISTRY_UNREACHABLE" });
  });

  it.each([
    ["other bytes", Buffer.from("the content of a blub")],
    ["fewer bytes", content.subarray(1)],
    ["more bytes", Buffer.concat([content, content])],
  ])("does not believe %s, and does not ask again", async (_case, sent) => {
    await using folder = temporaryFolder();
    await using talk = await talkTo((_request, response) => response.end(sent));
    await expect(talk.client.readBlob("a", blob)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    const saved = talk.client.saveBlob("a", blob, join(folder.path, "blob"));
    await expect(saved).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    await expect(talk.client.getManifest("a", blob.digest)).rejects.toMatchObject({ reason: "IMAGE_CORRUPT" });
    expect(talk.asked).toHaveLength(3);
  });

  it("tells a refusal in the registry's words", async () => {
    await using talk = await talkTo((_request, response) =>
      response.writeHead(400).end(JSON.stringify({ errors: [{ code: "DIGEST_INVALID", message: "no such thing" }] })),
    );
    const refused = talk.client.putManifest("a", "v1", { mediaType: "m/t", bytes: Buffer.from("{}") });
    await expect(refused).rejects.toMatchObject({
      reason: "IMAGE_INVALID",
      message: expect.stringContaining("DIGEST_INVALID no such thing"),
    });
  });

  it("does not try again when the fault is in its own files", async () => {
    await using talk = await talkTo((_request, response) => response.end(content));
    await expect(talk.client.saveBlob("a", blob, "/nowhere/blob")).rejects.toMatchObject({ code: "ENOENT" });
    expect(talk.asked).toHaveLength(1);
  });

  it("ends at once when it is aborted", async () => {
    const abort = new AbortController();
    await using talk = await talkTo(() => abort.abort());
    await expect(talk.client.readBlob("a", blob, abort.signal)).rejects.toMatchObject({ reason: "CANCELLED" });
    expect(talk.asked).toHaveLength(1);
  });
});

describe("clearRemovedPulls", () => {
  it("makes the folder, and ends nothing but removals", async () => {
    await using folder = temporaryFolder();
    const into = join(folder.path, "images");
    await clearRemovedPulls(into);
    for (const name of [".removed-1", "sha256-1", "sha256-2.part"]) {
      await mkdir(join(into, name, "deep"), { recursive: true });
    }
    await clearRemovedPulls(into);
    expect((await readdir(into)).toSorted()).toEqual(["sha256-1", "sha256-2.part"]);
  });
});
