import { setTimeout as sleep } from "node:timers/promises";
import { Ledger } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { createRecordStore, openStreams } from "#libs/records";
import { closeRpcClients } from "#libs/rpc";
import type { BenchmarkResult } from "./benchmark.ts";
import { beatAll, simulatedHeartbeat, untilAnswered } from "./scheduler-stage.ts";
import { openStage, type ServiceStage } from "./service-stage.ts";

const hosts = 5_000;
const perHost = 20;
const measuredMs = 20_000;
const gib = 2 ** 30;

/** What 5,000 hosts' heartbeats cost one scheduler, and its memory with 100,000 workloads on their ledgers. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openStage("scheduler");
  await fillLedgers(stage);
  stage.start();
  await sleep(10_000);
  const idle = await cpuShare(stage);
  const heartbeats = Array.from({ length: hosts }, (_, index) => simulatedHeartbeat(index, uidsOf(index)));
  using load = beatAll(stage.nats, heartbeats);
  await untilAnswered(load);
  await sleep(5_000);
  const before = { ...load.counts };
  const busy = await cpuShare(stage);
  const sent = load.counts.sent - before.sent;
  const answered = load.counts.answered - before.answered;
  await closeRpcClients();
  return {
    metrics: {
      scheduler_core_percent: 100 * busy,
      heartbeats_per_second: sent / (measuredMs / 1_000),
      answered_percent: (100 * answered) / sent,
      scheduler_rss_mib: await stage.residentMib(),
    },
    baseline: { scheduler_core_percent: 100 * idle },
  };
}

const uidsOf = (host: number): string[] => Array.from({ length: perHost }, (_, index) => uidOf(host * perHost + index));
const uidOf = (index: number): string => `vm-0192f0c1-0000-7000-8000-${index.toString(16).padStart(12, "0")}`;

async function cpuShare(stage: ServiceStage): Promise<number> {
  const before = await stage.cpuSeconds();
  await sleep(measuredMs);
  return ((await stage.cpuSeconds()) - before) / (measuredMs / 1_000);
}

/** As placements write them, without the wait for so many. */
async function fillLedgers({ nats }: ServiceStage): Promise<void> {
  const { rec: log } = await openStreams(nats);
  const ledgers = createRecordStore({ log, codec: Ledger, clock, random });
  const indexes = Array.from({ length: hosts }, (_, index) => index).values();
  const work = async () => {
    for (const host of indexes) {
      const reservations = uidsOf(host).map((uid, index) => ({
        ...{ uid, workload: `projects/default/vms/web-${host}-${index}`, operation: `operations/op-${uid.slice(3)}` },
        epoch: 0,
        requirements: {
          ...{
            cpus: 1 + (index % 4),
            cpuMillis: 1_000 + 1_000 * (index % 4),
            memoryBytes: 4 * gib,
            diskBytes: 40 * gib,
          },
          ...{ hostPorts: [], hostSelector: {}, capabilities: ["qemu"], host: "", notHost: "", notHosts: [] },
        },
      }));
      const name = `hosts/h-${host}/ledger`;
      await ledgers.create(name, { uid: `host-${host}`, body: { name, reservations, hostVersion: 0 } });
    }
  };
  await Promise.all(Array.from({ length: 64 }, work));
}
