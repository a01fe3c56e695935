import { expect, test } from "vitest";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { silentLogger as logger } from "#libs/logger";
import { createMemoryLog, createRecordStore, type LogMessage, rawCodec } from "#libs/records";
import { bringUpToDate, type ReturnDeps } from "./returned-hosts.ts";

const web = "projects/default/vms/web";
const ready = { aggregate: "host", happened: "ready", data: {} };

/** A host with one VM and its checkpoint; `keep` answers for the host. */
async function stage(keep: ReturnDeps["manifests"]["keep"]) {
  const log = createMemoryLog(clock);
  const store = createRecordStore({ log, codec: rawCodec, clock, random });
  const reservations = [
    { uid: "vm-1", workload: web },
    { uid: "vm-2", workload: "projects/default/vms/gone" },
  ];
  await store.create("hosts/n1/ledger", { uid: "n1", body: { name: "hosts/n1/ledger", reservations } });
  await store.create(web, { uid: "vm-1", body: { host: "hosts/n1" } });
  await store.create(`${web}/checkpoints/c`, { uid: "c", body: {} });
  const messages: LogMessage[] = [];
  log.onAppend = (message) => void messages.push(message);
  const deps = { records: log, manifests: { keep }, logger, signal: new AbortController().signal };
  return { store, messages, take: () => bringUpToDate(deps, messages.splice(0)) };
}

test("a host that is back keeps all records of what is on it; one that does not answer is asked until it is away", async () => {
  const kept: string[][] = [];
  let answers = true;
  const { store, take } = await stage(async (host, { uid, records }) => {
    if (!answers) throw new StillpointError("HOST_UNREACHABLE", "it does not answer");
    kept.push([host, String(uid), ...records.map(({ name }) => String(name))]);
    return true;
  });
  await store.create("hosts/n1", { uid: "n1", body: { state: "HOST_STATE_READY" }, events: [ready] });
  expect(await take()).toEqual(new Set());
  expect(kept.splice(0)).toEqual([["hosts/n1", "vm-1", web, `${web}/checkpoints/c`]]);
  await store.modify("hosts/n1", ({ body }) => ({ body: { ...body, labels: {} } }));
  expect(await take()).toEqual(new Set());
  answers = false;
  await store.modify("hosts/n1", ({ body }) => ({ body, events: [ready] }));
  expect(await take()).toEqual(new Set(["rec.hosts.n1"]));
  await store.modify("hosts/n1", ({ body }) => ({ body, events: [ready] }));
  await store.modify("hosts/n1", () => ({ body: { state: "HOST_STATE_DOWN" } }));
  expect(await take()).toEqual(new Set());
  await store.modify("hosts/n1", () => ({ body: { state: "HOST_STATE_READY" }, events: [ready] }));
  const forgotten = await store.get("hosts/n1");
  if (forgotten !== undefined) await store.remove(forgotten, []);
  expect(await take()).toEqual(new Set());
  expect(kept).toEqual([]);
});
