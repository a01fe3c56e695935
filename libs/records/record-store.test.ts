import { describe, expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { createOnce } from "./create-once.ts";
import type { Log } from "./log.ts";
import { createMemoryLog } from "./memory-log.ts";
import type { BodyCodec } from "./record.ts";
import { decodeRecord, mergeBody } from "./record-message.ts";
import { createRecordStore, rawCodec } from "./record-store.ts";
import { RecordView } from "./record-view.ts";
import { matchesFilter, nameOfSubject, subjectOfName } from "./subject.ts";

const name = "projects/default/vms/web";

/** An older version of the code: it knows of `cpus` and `net.ip`, and of nothing else. */
interface OldVm {
  cpus: number;
  ip?: string;
}
const oldVm: BodyCodec<OldVm> = {
  fromJSON: (value) => {
    const { cpus, net } = value as { cpus: number; net?: { ip?: string } };
    return { cpus, ...(net?.ip === undefined ? {} : { ip: net.ip }) };
  },
  toJSON: ({ cpus, ip }) => ({ cpus, net: ip === undefined ? {} : { ip } }),
};

function world() {
  const log = createMemoryLog(clock);
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  return { log, store, old: createRecordStore({ log, codec: oldVm, clock, random }) };
}

test("that there is no record is not believed of one node that has not heard of it", async () => {
  const log = createMemoryLog(clock);
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  const first = await store.create(name, { uid: "vm-1", body: {} });
  await store.remove(first);
  const tombstone = await log.read(subjectOfName(name));
  await store.create(name, { uid: "vm-2", body: {} });
  for (const told of [undefined, tombstone]) {
    log.read = async () => told;
    expect(await store.get(name)).toMatchObject({ uid: "vm-2" });
  }
});

test("a view that lags behind catches up with what another replica has written", async () => {
  const { log, store } = world();
  const gate = Promise.withResolvers<void>();
  const slow: Log = {
    read: (subject) => log.read(subject),
    append: (...given) => log.append(...given),
    newest: (filter) => log.newest(filter),
    lastSequence: () => log.lastSequence(),
    async *follow(...given) {
      await gate.promise;
      yield* log.follow(...given);
    },
  };
  const stop = new AbortController();
  const view = await RecordView.start({
    log: slow,
    filter: "rec.projects.*.vms.*",
    codec: rawCodec,
    signal: stop.signal,
  });
  await view.catchUp();
  await store.create(name, { uid: "vm-1", body: {} });
  const caught = view.catchUp().then(() => view.get(name)?.uid);
  expect(view.get(name)).toBeUndefined();
  gate.resolve();
  expect(await caught).toBe("vm-1");
  stop.abort();
});

describe("a record", () => {
  test("is made once by repetitions with its uid, and not again when it is gone", async () => {
    const { store } = world();
    const made = await createOnce(store, name, { uid: "vm-1", body: { n: 1 } });
    expect(await createOnce(store, name, { uid: "vm-1", body: { n: 2 } })).toMatchObject({
      version: made.version,
      body: { n: 1 },
    });
    const other = createOnce(store, name, { uid: "vm-2", body: {} });
    await expect(other).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
    await store.remove(made);
    const late = createOnce(store, name, { uid: "vm-1", body: {} });
    await expect(late).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
  });

  test("is made once, gone when removed, and made again over its tombstone", async () => {
    const { store } = world();
    const made = await store.create(name, { uid: "vm-1", body: { n: 1 }, operation: "op-1" });
    await expect(store.create(name, { uid: "vm-2", body: {} })).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
    expect(await store.get(name)).toMatchObject({
      uid: "vm-1",
      operation: "op-1",
      body: { n: 1 },
      version: made.version,
    });
    await store.remove(made);
    expect(await store.get(name)).toBeUndefined();
    expect(await store.create(name, { uid: "vm-2", body: {} })).toMatchObject({ uid: "vm-2", operation: undefined });
  });

  test("is written only over the state that was read", async () => {
    const { store } = world();
    const made = await store.create(name, { uid: "vm-1", body: {} });
    await store.update(made, { body: { n: 1 } });
    await expect(store.update(made, { body: { n: 2 } })).rejects.toMatchObject({ reason: "RECORD_CONFLICT" });
    await Promise.all(
      Array.from({ length: 20 }, () => store.modify(name, ({ body }) => ({ body: { n: Number(body.n) + 1 } }))),
    );
    expect((await store.get(name))?.body).toEqual({ n: 21 });
  });

  test("keeps what an older version of the code does not know", async () => {
    const { store, old } = world();
    await store.create(name, { uid: "vm-1", body: { cpus: 1, tpm: true, net: { ip: "10.0.0.1", mtu: 9000 } } });
    await old.modify(name, ({ body }) => ({ body: { ...body, cpus: 2 } }));
    expect((await store.get(name))?.body).toEqual({ cpus: 2, tpm: true, net: { ip: "10.0.0.1", mtu: 9000 } });
    await old.modify(name, () => ({ body: { cpus: 3 } }));
    expect((await store.get(name))?.body).toEqual({ cpus: 3, tpm: true, net: { mtu: 9000 } });
  });

  test("changes hands without a change of its body, and says over what it was written", async () => {
    const { log, store } = world();
    const made = await store.create(name, { uid: "vm-1", body: { n: 1 } });
    const held = await store.update(made, { operation: "op-1" });
    const freed = await store.update(held, {
      operation: null,
      events: [{ aggregate: "vm", happened: "freed", data: {} }],
    });
    expect([held.operation, freed.operation, freed.body]).toEqual(["op-1", undefined, { n: 1 }]);
    const newest = await log.read(subjectOfName(name));
    expect(newest && decodeRecord(newest.data)).toMatchObject({
      previous: held.version,
      events: [{ happened: "freed" }],
    });
  });
});

describe("a view", () => {
  test("gives a snapshot, then what happens, and the rest to a watcher that comes back", async () => {
    const { log, store } = world();
    await store.create(name, { uid: "vm-1", body: { n: 1 } });
    const { signal } = new AbortController();
    const view = await RecordView.start({ log, filter: "rec.projects.*.vms.*", codec: rawCodec, signal });
    const watching = upTo("changed", view.watch({ signal }));
    const changed = await store.modify(name, () => ({ body: { n: 2 } }));
    const seen = await watching;
    expect(seen.map(({ kind }) => kind)).toEqual(["current", "synced", "changed"]);
    expect(seen.at(-1)?.token).toBe(changed?.version);
    if (changed !== undefined) await store.remove(changed);
    const rest = await upTo("deleted", view.watch({ since: seen.at(-1)?.token ?? 0, signal }));
    expect(rest.map(({ kind }) => kind)).toEqual(["synced", "deleted"]);
  });

  test("waits for a write also while a leader that was cut off says that the log ends before it", async () => {
    const { log, store } = world();
    await store.create(name, { uid: "vm-1", body: {} });
    const stop = new AbortController();
    let staleAnswers = 1;
    const stale: Log = {
      read: (subject) => log.read(subject),
      newest: (filter) => log.newest(filter),
      append: (subject, data, options) => log.append(subject, data, options),
      follow: (filter, options) => log.follow(filter, options),
      lastSequence: async () => (staleAnswers-- > 0 ? 0 : await log.lastSequence()),
    };
    const options = { filter: "rec.projects.*.vms.*", codec: rawCodec, signal: stop.signal };
    const view = await RecordView.start({ ...options, log: stale });
    staleAnswers = 1;
    // Of another kind: it never comes by.
    const other = await log.append("rec.hosts.n1", Buffer.from("{}"), { expectedSequence: 0 });
    await view.waitFor(other);
    expect(staleAnswers).toBeLessThan(1);
    stop.abort();
  });

  test("asks a watcher to start over whose token it does not remember", async () => {
    const { log, store } = world();
    const old = await store.create(name, { uid: "vm-1", body: {} });
    await store.modify(name, () => ({ body: { n: 1 } }));
    const stop = new AbortController();
    const view = await RecordView.start({ log, filter: "rec.>", codec: rawCodec, signal: stop.signal });
    const first = async (since: number) => {
      for await (const { kind } of view.watch({ since, signal: stop.signal })) if (kind !== "synced") return kind;
      return undefined;
    };
    await expect(first(old.version)).rejects.toMatchObject({ reason: "RESYNC" });
    await expect(first(view.token + 100)).rejects.toMatchObject({ reason: "RESYNC" });
    stop.abort();
  });
});

async function upTo<Change extends { kind: string }>(kind: string, changes: AsyncIterable<Change>): Promise<Change[]> {
  const seen: Change[] = [];
  for await (const change of changes) {
    seen.push(change);
    if (change.kind === kind) break;
  }
  return seen;
}

test("names and subjects are two forms of one thing", () => {
  expect(subjectOfName(name)).toBe("rec.projects.default.vms.web");
  expect(nameOfSubject(subjectOfName(name))).toBe(name);
  for (const bad of ["", "a b", "a.b", "a/*", "a//b", ">"])
    expect(() => subjectOfName(bad)).toThrow("not a resource name");
});

test.each([
  ["a.>", "a.b.c", true],
  ["a.>", "a", false],
  ["a.*.c", "a.b.c", true],
  ["a.*", "a.b.c", false],
  ["a.b", "a.b", true],
  ["a.b.c", "a.b", false],
])("filter %s on %s: %s", (filter, subject, expected) => {
  expect(matchesFilter(filter, subject)).toBe(expected);
});

test("a field that was taken away goes, one that was never known stays", () => {
  expect(mergeBody({ a: 1, b: 2, x: 3 }, { a: 1, b: 2 }, { a: 9 })).toEqual({ x: 3, a: 9 });
});
