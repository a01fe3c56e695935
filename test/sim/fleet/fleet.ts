/**
 * A simulated fleet: thousands of hosts in one process, against a real control plane.
 *
 * Real: the gRPC contract of agents, each host at an address of its own; heartbeats over NATS, their answers, and the
 * lease with its epochs; fences, steps and their journal; observations. These are the agent's own modules, which read and
 * write memory where the agent has files. All of the control plane, NATS and Redis are real processes.
 *
 * Simulated: VMs are entries in a table (`../kept-vms.ts`): no QEMU, no disk, no guest, no RAM; each action takes as long
 * and fails as often as it is told. Checkpoints have evidence but no content, and what is pushed is a name: no blob goes to
 * the registry. The fence guard is an object, not a process. There are no containers, no groups of checkpoints, no clones,
 * no readiness of guests and no manifests to rebuild records from. Hosts share connections to NATS. A host without power
 * or network accepts connections and never answers; the agent of one that was killed answers UNAVAILABLE.
 */
import { jetstream } from "@nats-io/jetstream";
import { createLogger } from "#libs/logger";
import { openNats } from "#libs/records";
import { LivelyConnection } from "../../../services/agent/lease/lively-connection.ts";
import type { HostLine, Manners } from "./fleet-agent.ts";
import { FleetHost, type FleetHostDeps, type FleetHostOptions } from "./fleet-host.ts";
import { MemoryParcels } from "./memory-parcels.ts";
import { RunLedger } from "./run-ledger.ts";

export interface FleetOptions {
  /** Several with commas between. */
  readonly natsUrl: string;
  /** How many; hosts/sim-0 and so on. */
  readonly hosts: number;
  /** Over how long their agents start; 2,000 if unsaid, which is their heartbeats' interval. */
  readonly startWithinMs?: number;
  /** How far a host's wall clock is ahead; 0 if unsaid. */
  readonly aheadMsOf?: (index: number) => number;
  /** How long an action takes; 5 ms if unsaid. */
  readonly durationMs?: Manners["durationMs"];
  /** Whether an action fails; none does if unsaid. */
  readonly fails?: Manners["fails"];
  /** Numbers in [0, 1); decides nothing but moments. */
  readonly random?: () => number;
  /** Hears what hosts do that is worth a line. */
  readonly note?: (line: string) => void;
}

export interface Fleet extends AsyncDisposable {
  readonly hosts: readonly FleetHost[];
  readonly ledger: RunLedger;
  /** One more agent that calls itself by a host's name, with no VMs. */
  twinOf(host: FleetHost): Promise<FleetHost>;
}

const gib = 2 ** 30;
const hostsOnLine = 100;
const racks = 30;

/** Starts all of it; resolves when every host's agent speaks, whoever hears it. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const { random = Math.random, note = () => undefined, startWithinMs = 2_000 } = options;
  const logger = createLogger({ name: "fleet", level: "error" });
  const ledger = new RunLedger(note);
  const { durationMs = () => 5, fails = () => false } = options;
  const shared = { manners: { durationMs, fails }, ledger, parcels: new MemoryParcels(), random, logger };
  const lines: HostLine[] = [];
  for (let index = 0; index < Math.ceil(options.hosts / hostsOnLine); index++) {
    const nats = await openNats({ url: options.natsUrl, name: `fleet-${index}` });
    stack.defer(() => nats.close());
    lines.push({ nats, jetstream: jetstream(nats), line: new LivelyConnection(nats, logger) });
  }
  const open = (host: FleetHostOptions, index: number): FleetHost => {
    const line = lines[index % lines.length];
    if (line === undefined) throw new Error("a fleet has at least one host");
    return new FleetHost({ ...shared, line } satisfies FleetHostDeps, host);
  };
  const hosts = Array.from({ length: options.hosts }, (_, index) => open(describe(index, options), index));
  const twins: FleetHost[] = [];
  stack.defer(async () => void (await Promise.all([...hosts, ...twins].map((host) => host.close()))));
  for (const host of hosts) await host.open();
  const start = async (host: FleetHost, index: number) => {
    await host.clock.sleep((startWithinMs * index) / hosts.length);
    await host.startAgent();
  };
  await Promise.all(hosts.map(start));
  const owned = stack.move();
  return {
    ...{ hosts, ledger },
    async twinOf({ id }) {
      const index = hosts.length + twins.length;
      const twin = open({ ...describe(index, options), id, knownAs: `twin-${index} of hosts/${id}` }, index);
      twins.push(twin);
      await twin.open();
      await twin.startAgent();
      return twin;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** 64 CPUs, 256 GiB and 4 TiB each, in 30 racks. */
function describe(index: number, { aheadMsOf = () => 0 }: FleetOptions): FleetHostOptions {
  return {
    id: `sim-${index}`,
    ip: `127.${1 + ((index >> 16) & 63)}.${(index >> 8) & 255}.${index & 255}`,
    said: {
      labels: { rack: `r-${index % racks}` },
      zone: `zone-${index % 3}`,
      capacity: { cpus: 64, memoryBytes: 256 * gib, diskBytes: 4_096 * gib },
    },
    aheadMs: aheadMsOf(index),
  };
}
