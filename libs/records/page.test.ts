import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { MemoryLog } from "./memory-log.ts";
import { readPage } from "./page.ts";
import { createRecordStore, rawCodec } from "./record-store.ts";
import { RecordView } from "./record-view.ts";

interface Item {
  readonly name: string;
  readonly bytes: number;
}

const codec = { encode: (item: Item) => ({ finish: () => new Uint8Array(item.bytes) }) };

async function openView() {
  const log = new MemoryLog(clock);
  const stop = new AbortController();
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  const make = (name: string) => store.create(`projects/${name}`, { uid: name, body: { name: `projects/${name}` } });
  for (const name of ["b/vms/1", "a/vms/4", "a/vms/2", "a/vms/1", "a/vms/3", "aa/vms/1"]) await make(name);
  const view = await RecordView.start({ log, filter: "rec.projects.*.vms.*", codec: rawCodec, signal: stop.signal });
  const page = async (request: { pageSize?: number; pageToken?: string; waitFor?: number }, bytes = 1) => {
    const options = { prefix: "projects/a/vms/", codec, signal: stop.signal };
    const show = (stored: { name: string }) => ({ name: stored.name.split("/").at(-1) ?? "", bytes });
    const { items, ...rest } = await readPage(view, { pageSize: 0, pageToken: "", ...request }, { ...options, show });
    return { names: items.map(({ name }) => name).join(" "), ...rest };
  };
  return { view, make, store, page, [Symbol.dispose]: () => stop.abort() };
}

test("pages go through one project in order of names, also past a name that is gone, and know what is new", async () => {
  using opened = await openView();
  const first = await opened.page({ pageSize: 2 });
  expect(first).toEqual({ names: "1 2", token: 6, nextPageToken: "6.2" });
  const gone = await opened.store.get("projects/a/vms/2");
  if (gone !== undefined) await opened.store.remove(gone);
  const { version } = await opened.make("a/vms/20");
  const second = await opened.page({ pageSize: 2, pageToken: first.nextPageToken, waitFor: version });
  expect(second).toEqual({ names: "20 3", token: 8, nextPageToken: "8.3" });
  expect(await opened.page({ pageSize: 2, pageToken: second.nextPageToken })).toMatchObject({
    names: "4",
    nextPageToken: "",
  });
  expect((await opened.page({})).names).toBe("1 20 3 4");
});

test("a page ends before it is too large for a message, and has one item at least", async () => {
  using opened = await openView();
  expect(await opened.page({}, 3 * 2 ** 20)).toMatchObject({ names: "1 2", nextPageToken: "6.2" });
  expect(await opened.page({ pageToken: "6.2" }, 9 * 2 ** 20)).toMatchObject({ names: "3", nextPageToken: "6.3" });
});

test("a page from a replica that lags waits; one of what is no token is refused", async () => {
  using opened = await openView();
  const waiting = opened.page({ pageToken: "7.2" });
  await opened.make("a/vms/5");
  expect((await waiting).names).toBe("3 4 5");
  await expect(opened.page({ pageToken: "x" })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
  await expect(opened.page({ pageSize: -1 })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
});
