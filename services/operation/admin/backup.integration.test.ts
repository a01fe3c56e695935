import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AdminClient, AdminDefinition } from "#contracts/operation/v1/admin";
import { readBackup, verifyBackup, writeBackup } from "#libs/backup";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { createRecordStore, decodeRecord, openNats, openStreams, rawCodec } from "#libs/records";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { eventually, startNats, startRedis, type TestServer, temporaryFolder } from "#libs/testing";
import { readOperationConfig } from "../config.ts";
import { startOperation } from "../service.ts";

const lifecycle = new Lifecycle();
let servers: TestServer[];
let admin: AdminClient;

beforeAll(async () => {
  servers = await Promise.all([startNats(), startRedis()]);
  const [nats, redis] = servers.map(({ url }) => url);
  const config = readOperationConfig({
    ...{ NATS_URL: nats, REDIS_URL: redis, OPERATION_ADDRESS: "127.0.0.1:0", LOG_LEVEL: "error" },
  });
  const { address } = await startOperation(config, lifecycle);
  admin = createRpcClient(AdminDefinition, address);
});

afterAll(async () => {
  await closeRpcClients();
  await lifecycle.close();
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const natsUrl = () => servers[0]?.url ?? "";
const signal = new AbortController().signal;

test("a backup that is taken while records are written holds all of them as they were at one instant", async () => {
  await using folder = temporaryFolder();
  const nats = await openNats({ url: natsUrl() });
  try {
    const { rec: log } = await openStreams(nats);
    const store = createRecordStore({ log, codec: rawCodec, clock, random });
    // Each is written after the one before it: at no instant does a later one stand higher.
    const names = ["a", "b", "c"].map((id) => `projects/default/groups/${id}`);
    for (const name of names) await store.create(name, { uid: `grp-${name}`, body: { n: 0 } });
    let isDone = false;
    const writing = (async () => {
      for (let n = 1; !isDone; n++) for (const name of names) await store.modify(name, () => ({ body: { n } }));
    })();
    const path = join(folder.path, "backup");
    await eventually(async () => Number((await store.get(names[0] ?? ""))?.body.n) > 30);
    await writeBackup(path, admin.backup({ withEvents: true }), { signal });
    isDone = true;
    await writing;

    const { header } = await verifyBackup(path);
    expect(header.streams.find(({ name }) => name === "REC")?.consumers[0]).toContain("keeper");
    const newest = new Map<string, number>();
    for await (const { item } of readBackup(path)) {
      if (item?.$case !== "message" || item.value.stream !== "REC") continue;
      const { name, body } = decodeRecord(item.value.data);
      newest.set(name, Number(body.n));
    }
    const [first = 0, second = 0, third = 0] = names.map((name) => newest.get(name));
    expect(first).toBeGreaterThan(30);
    expect([first - second, second - third, first - third].every((ahead) => ahead === 0 || ahead === 1)).toBe(true);
  } finally {
    await nats.close();
  }
});

test("streams that are gone are made anew while the service runs, and it goes on", async () => {
  const nats = await openNats({ url: natsUrl() });
  try {
    const { rec: log } = await openStreams(nats);
    const store = createRecordStore({ log, codec: rawCodec, clock, random });
    const before = await store.create("projects/default/groups/before", { uid: "grp-before", body: {} });
    const { jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(nats);
    for (const stream of ["REC", "OPS", "EVT"]) await manager.streams.delete(stream);
    const events = [{ aggregate: "group", happened: "made", data: {} }];
    const made = await eventually(
      () =>
        store.create("projects/default/groups/after", { uid: "grp-after", body: {}, events }).catch(() => undefined),
      { deadlineMs: 10_000 },
    );
    expect(made.version).toBeGreaterThan(before.version);
    await using folder = temporaryFolder();
    const path = join(folder.path, "backup");
    // The event says that the projector goes on; the consumer, that copies for hosts do.
    const counts = await eventually(
      async () => {
        const { counts } = await writeBackup(`${path}-${clock.now().getTime()}`, admin.backup({ withEvents: true }), {
          signal,
        });
        return counts.some(({ stream }) => stream === "EVT") && counts;
      },
      { deadlineMs: 20_000 },
    );
    expect(counts.map(({ stream, messages }) => `${stream} ${messages}`)).toEqual(["EVT 1", "REC 1"]);
    await eventually(() => manager.consumers.info("REC", "keeper").catch(() => undefined), { deadlineMs: 20_000 });
  } finally {
    await nats.close();
  }
});
