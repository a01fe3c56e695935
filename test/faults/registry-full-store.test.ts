import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf } from "#libs/oci";
import { eventually } from "#libs/testing";
import { pushBlob, pushManifest } from "../../services/registry/http/oci-fixture.ts";
import { startTestRegistry } from "../../services/registry/testing/registry-fixture.ts";
import { sendOnce } from "../../services/registry/testing/registry-user.ts";
import { startBucket } from "../../services/registry/testing/store-places.ts";
import { faultRuns } from "./fault-run.ts";
import { mountSmallDisk } from "./small-disk.ts";

const MIB = 2 ** 20;

/** A store that can be filled to the last byte. */
interface Place {
  readonly settings: NodeJS.ProcessEnv;
  fill(): Promise<void>;
  clear(): Promise<void>;
  /** All keys and temporary files that there are. */
  everything(): Promise<string[]>;
}

async function onDisk(ending: AsyncDisposableStack): Promise<Place> {
  const disk = ending.use(await mountSmallDisk(64 * MIB));
  ending.defer(() => disk.clear());
  const isOurs = (name: string) => !/^(ballast|lost\+found)/.test(name);
  return {
    settings: { REGISTRY_DATA: disk.path },
    fill: () => disk.fill(0),
    clear: () => disk.clear(),
    async everything() {
      const found = await readdir(disk.path, { recursive: true, withFileTypes: true });
      const files = found.filter((entry) => entry.isFile()).map(({ parentPath, name }) => `${parentPath}/${name}`);
      return files.map((path) => path.slice(disk.path.length + 1)).filter(isOurs);
    },
  };
}

async function inBucket(ending: AsyncDisposableStack): Promise<Place> {
  const { ceph, settings, objects, unfinished } = await startBucket(ending);
  const scope = ["--quota-scope=bucket", "--uid=test"];
  return {
    settings,
    async fill() {
      const sizes = await Promise.all(
        (await objects.list("")).map(async (key) => (await objects.head(key))?.sizeBytes),
      );
      const usedBytes = sizes.reduce((sum: number, size = 0) => sum + Math.ceil(size / 4_096) * 4_096, 0);
      await ceph.admin("quota", "set", ...scope, `--max-size=${usedBytes}`);
      await ceph.admin("quota", "enable", ...scope);
    },
    clear: () => ceph.admin("quota", "disable", ...scope),
    everything: async () => [...(await unfinished()), ...(await objects.list(""))],
  };
}

describe.each([
  ["disk", onDisk],
  ["bucket", inBucket],
] as const)("F12: a registry whose %s is full", (_name, open) => {
  const ending = new AsyncDisposableStack();
  let place: Place;
  let registry: Awaited<ReturnType<typeof startTestRegistry>>;

  const run = faultRuns();
  beforeAll(async () => {
    place = await open(ending);
    const soon = {
      REGISTRY_COLLECT_SECONDS: "0.2",
      REGISTRY_GRACE_SECONDS: "0",
      REGISTRY_UNTAGGED_SECONDS: "0",
    };
    registry = ending.use(await startTestRegistry({ ...place.settings, ...soon }));
  });
  afterAll(() => ending.disposeAsync());

  /** Without what collection writes for itself. */
  const kept = async () => (await place.everything()).filter((key) => !/^(collect|reserve)\//.test(key)).sort();
  const send = (method: string, path: string, body?: Buffer) =>
    sendOnce(registry.url, method, path, body === undefined ? {} : { body });

  test("refuses what is pushed with 507 and keeps nothing of it; pulls and deletions go on", async () => {
    const layer = randomBytes(9 * MIB);
    const image = await pushManifest(registry.url, "team/app", "v1", { layers: [layer] });
    expect(image.response.status).toBe(201);
    const location = (await send("POST", "/v2/team/app/blobs/uploads/")).headers.location ?? "";
    await place.fill();
    run().fault("full store");
    const blob = randomBytes(10 * MIB);
    // What collection is writing at this moment has a temporary file, which goes too.
    const before = (await kept()).filter((key) => !key.startsWith("tmp/"));
    for (const [method, path, body] of [
      ["POST", `/v2/team/app/blobs/uploads/?digest=${digestOf(blob)}`, blob],
      ["POST", `/v2/other/app/blobs/uploads/?digest=${digestOf(blob)}`, blob],
      ["PATCH", location, blob],
      ["PUT", `${location}?digest=${digestOf(blob)}`, blob],
      ["PUT", "/v2/team/app/manifests/v2", Buffer.concat([image.bytes, Buffer.from(" ")])],
    ] as const) {
      const refused = await send(method, path, body);
      expect([method, refused.status, refused.code]).toEqual([method, 507, "UNAVAILABLE"]);
    }
    await eventually(async () => (await kept()).join() === before.join(), { deadlineMs: 10_000 });
    expect((await send("GET", "/v2/team/app/manifests/v1")).body.equals(image.bytes)).toBe(true);
    expect((await send("GET", `/v2/team/app/blobs/${digestOf(layer)}`)).body.equals(layer)).toBe(true);
    expect((await send("GET", location)).status).toBe(204);
  });

  test("can be emptied: what is deleted is collected, and there is room again", async () => {
    expect((await send("DELETE", "/v2/team/app/manifests/v1")).status).toBe(202);
    const isEmpty = async () => !(await kept()).some((key) => key.startsWith("blobs/"));
    await eventually(isEmpty, { deadlineMs: 20_000 });
    await place.clear();
    const blob = randomBytes(9 * MIB);
    expect((await pushBlob(registry.url, "team/app", blob)).status).toBe(201);
  });
});
