import { setTimeout as sleep } from "node:timers/promises";
import { ListVmsResponse, Vm, type VmsClient, VmsDefinition, type VmsServiceImplementation } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { silentLogger as logger } from "#libs/logger";
import { createRecordStore, type Log, openStreams, type RecordStore, type StoredRecord } from "#libs/records";
import { type CallScope, closeRpcClients, createRpcClient, RpcServer } from "#libs/rpc";
import { partialService } from "#libs/testing";
import { type BenchmarkResult, quantile, timed } from "./benchmark.ts";
import { openStage, untilServing } from "./service-stage.ts";
import { simulatedVm } from "./simulated-vm.ts";

const count = 100_000;
const pages = 60;
const changesPerSecond = 500;
const watchedMs = 20_000;
const parent = "projects/default";

/**
 * Lists and watches of 100,000 VMs in one project, through the VM service's API. Their records are put into the log by
 * this program and none of them is booted: no host, no guest, no operation. Measured are the first page, alone and
 * while 500 records a second change; all pages one after the other; a watch's snapshot; and how long after its
 * acknowledgement a change is with a watcher. Baselines: a server that answers each call with the same page, made
 * beforehand; and a bare follower of the log, which is told of the same changes in the same process.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openStage("vm");
  const { rec: log } = await openStreams(stage.nats);
  const store = createRecordStore({ log, codec: Vm, clock, random });
  const records = await fill(store);
  stage.start();
  const vms = createRpcClient(VmsDefinition, stage.address);
  const loading = await timed(() => untilServing(() => vms.listVms({ parent, pageSize: 1 })));
  const alone = await firstPages(vms);
  const bare = await bareFirstPages(await vms.listVms({ parent }));
  const listing = await timed(() => listAll(vms));
  const { snapshotMs, lags, bareLags, busy, perSecond } = await watchChanges({ vms, log, store, records });
  const rss = await stage.residentMib();
  await closeRpcClients();
  return {
    metrics: {
      first_page_p50_ms: quantile(alone, 0.5),
      first_page_p99_ms: quantile(alone, 0.99),
      first_page_under_change_p99_ms: quantile(busy, 0.99),
      all_pages_ms: listing,
      watch_snapshot_ms: snapshotMs,
      changes_per_second: perSecond,
      watch_lag_p50_ms: quantile(lags, 0.5),
      watch_lag_p99_ms: quantile(lags, 0.99),
      service_start_ms: loading,
      service_rss_mib: rss,
    },
    baseline: {
      first_page_p50_ms: quantile(bare, 0.5),
      first_page_p99_ms: quantile(bare, 0.99),
      watch_lag_p50_ms: quantile(bareLags, 0.5),
      watch_lag_p99_ms: quantile(bareLags, 0.99),
    },
  };
}

/** In no order, as VMs come and go. */
async function fill(store: RecordStore<Vm>): Promise<StoredRecord<Vm>[]> {
  const stored: StoredRecord<Vm>[] = [];
  const indexes = Array.from({ length: count }, (_, index) => (index * 7_919) % count).values();
  const work = async () => {
    for (const index of indexes) {
      const body = simulatedVm(parent, index);
      stored.push(await store.create(body.name, { uid: body.uid, body }));
    }
  };
  await Promise.all(Array.from({ length: 128 }, work));
  return stored;
}

async function firstPages(vms: Pick<VmsClient, "listVms">): Promise<number[]> {
  const times: number[] = [];
  for (let page = 0; page < pages; page++) times.push(await timed(() => vms.listVms({ parent })));
  // The first calls find code that was never run.
  return times.slice(10);
}

async function bareFirstPages(page: object): Promise<number[]> {
  const prepared = ListVmsResponse.fromPartial(page as ListVmsResponse);
  const server = new RpcServer({ logger });
  const handlers = partialService<VmsServiceImplementation<CallScope>>(VmsDefinition, {
    listVms: async () => prepared,
  });
  server.add(VmsDefinition, handlers);
  const vms = createRpcClient(VmsDefinition, await server.listen("127.0.0.1:0"));
  try {
    return await firstPages(vms);
  } finally {
    vms.close();
    await server.close();
  }
}

async function listAll(vms: VmsClient): Promise<void> {
  let listed = 0;
  for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
    const page = await vms.listVms({ parent, pageToken });
    listed += page.vms.length;
    pageToken = page.nextPageToken || undefined;
  }
  if (listed !== count) throw new Error(`${listed} VMs are listed`);
}

interface Watched {
  readonly vms: VmsClient;
  readonly log: Log;
  readonly store: RecordStore<Vm>;
  readonly records: StoredRecord<Vm>[];
}

async function watchChanges({ vms, log, store, records }: Watched) {
  const stop = new AbortController();
  const acknowledged = new Map<number, number>();
  const arrived = { watcher: new Map<number, number>(), follower: new Map<number, number>() };
  const afterSequence = await log.lastSequence();
  const following = follow(log, afterSequence, stop.signal, arrived.follower);
  const synced = Promise.withResolvers<void>();
  const watching = watch(vms, stop.signal, { arrived: arrived.watcher, synced: synced.resolve });
  const snapshotMs = await timed(() => Promise.race([synced.promise, watching]));
  const busy: number[] = [];
  const listing = (async () => {
    while (!stop.signal.aborted) {
      busy.push(await timed(() => vms.listVms({ parent })));
      await sleep(200);
    }
  })();
  const changingMs = await timed(() => change(store, records, acknowledged));
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(20)) {
    if (Object.values(arrived).every(({ size }) => size >= acknowledged.size)) break;
  }
  stop.abort();
  await Promise.all([listing, watching, following]);
  const lagsOf = (times: ReadonlyMap<number, number>) =>
    [...acknowledged].map(([token, atMs]) => Math.max(0, (times.get(token) ?? Number.POSITIVE_INFINITY) - atMs));
  const perSecond = (1_000 * acknowledged.size) / changingMs;
  return { snapshotMs, lags: lagsOf(arrived.watcher), bareLags: lagsOf(arrived.follower), busy, perSecond };
}

/** As many changes as are promised, each when it is due; gives by version when each was acknowledged. */
async function change(store: RecordStore<Vm>, records: StoredRecord<Vm>[], acknowledged: Map<number, number>) {
  const startedMs = performance.now();
  const under: Promise<void>[] = [];
  const total = (watchedMs / 1_000) * changesPerSecond;
  for (let index = 0; index < total; index++) {
    const dueMs = startedMs + (index * 1_000) / changesPerSecond;
    await sleep(Math.max(0, dueMs - performance.now()));
    const place = (index * 131) % records.length;
    const stored = records[place];
    if (stored === undefined) continue;
    const labels = { ...stored.body.labels, turn: `${index}` };
    const writing = store.update(stored, { body: { ...stored.body, labels } }).then((written) => {
      acknowledged.set(written.version, performance.now());
      records[place] = written;
    });
    under.push(writing);
  }
  await Promise.all(under);
}

interface Watcher {
  readonly arrived: Map<number, number>;
  readonly synced: () => void;
}

async function watch(vms: VmsClient, signal: AbortSignal, { arrived, synced }: Watcher): Promise<void> {
  let listed = 0;
  const read = async () => {
    for await (const { kind, token } of vms.watchVms({ parent }, { signal })) {
      if (kind === "KIND_CURRENT") listed++;
      else if (kind === "KIND_SYNCED") synced();
      else arrived.set(token ?? 0, performance.now());
    }
  };
  await read().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  if (listed !== count) throw new Error(`the snapshot has ${listed} VMs`);
}

async function follow(log: Log, afterSequence: number, signal: AbortSignal, arrived: Map<number, number>) {
  for await (const { sequence } of log.follow("rec.projects.*.vms.*", { afterSequence, signal })) {
    arrived.set(sequence, performance.now());
  }
}
