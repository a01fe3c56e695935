/** Load on a control plane from a simulated fleet: what is simulated, and what is not, is said in fleet.ts. */
import { parseArgs } from "node:util";
import { closeRpcClients } from "#libs/rpc";
import { quantile } from "../../bench/benchmark.ts";
import { type LoadResult, runLoad } from "./load.ts";

const usage = `usage: node test/sim/fleet/main.ts [options]

Starts a real control plane on this machine (every service, NATS, Redis and nginx as processes) and a simulated fleet of
hosts, has VMs made and started on them, and prints what that took. The hosts' agents speak the real protocols; their VMs
are entries in a table: there is no QEMU, no disk and no guest.

  --hosts N        simulated hosts (5000)
  --vms N          VMs that are made in all (20000)
  --rate N         VMs that are asked for in a second; 0: as fast as they are made (200)
  --in-flight N    creations under way at most (256)
  --replicas N     of each service (2)
  --nats 1|3       nodes of NATS (1)
  --sync           NATS syncs each write, as in production (the default; --no-sync: when it likes); three always do
  --start-within N milliseconds over which agents start; 0: all at once (2000)
  --help           this text
`;

const values = readOptions();

function readOptions() {
  try {
    return parseArgs({
      allowNegative: true,
      options: {
        hosts: { type: "string", default: "5000" },
        vms: { type: "string", default: "20000" },
        rate: { type: "string", default: "200" },
        "in-flight": { type: "string", default: "256" },
        replicas: { type: "string", default: "2" },
        nats: { type: "string", default: "1" },
        sync: { type: "boolean", default: true },
        "start-within": { type: "string", default: "2000" },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Ends the program with what is wrong with its options. */
function refuse(why: string): never {
  console.error(`${why}\n\n${usage}`);
  process.exit(2);
}

/** A whole number from `least` on. */
function whole(option: "hosts" | "vms" | "rate" | "in-flight" | "replicas" | "start-within", least: number): number {
  const value = Number(values[option]);
  if (Number.isInteger(value) && value >= least) return value;
  return refuse(`--${option} must be a whole number, ${least} or more, not ${values[option]}`);
}

const interrupted = Promise.withResolvers<never>();
interrupted.promise.catch(() => undefined);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => interrupted.reject(new Error(`interrupted by ${signal}; everything is cleaned up`)));
}

/** Ends the program with what went wrong, in a line. */
function fail(error: unknown): never {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

function print({
  busy,
  idle,
  made: { failures, latencies },
  eventLags,
  readySeconds,
  createSeconds,
}: LoadResult): void {
  const rows = [...busy].map(([name, { cpuPercent, residentMib }]) => {
    const cells = [cpuPercent, idle.get(name)?.cpuPercent ?? 0, residentMib].map((it) => it.toFixed(0).padStart(12));
    return `${name.padEnd(16)}${cells.join("")}`;
  });
  const ms = (samples: readonly number[], share: number) => `${quantile(samples, share).toFixed(0)} ms`;
  console.log(`
hosts ready after      ${readySeconds.toFixed(1)} s
VMs running            ${latencies.length} after ${createSeconds.toFixed(1)} s: ${(latencies.length / createSeconds).toFixed(0)} a second
failed                 ${JSON.stringify(failures)}
vm.create              p50 ${ms(latencies, 0.5)}, p99 ${ms(latencies, 0.99)}, from when it was due
events, to a client    p50 ${ms(eventLags, 0.5)}, p99 ${ms(eventLags, 0.99)}

process           % of a core     at rest         MiB
${rows.join("\n")}`);
}

if (values.help) {
  console.log(usage);
} else {
  const startedMs = performance.now();
  if (values.nats !== "1" && values.nats !== "3") refuse(`--nats must be 1 or 3, not ${values.nats}`);
  const natsNodes = Number(values.nats);
  const result = await runLoad({
    interrupted: interrupted.promise,
    ...{ hosts: whole("hosts", 1), vms: whole("vms", 1), rate: whole("rate", 0), inFlight: whole("in-flight", 1) },
    ...{ replicas: whole("replicas", 1), natsNodes, syncAlways: values.sync, startWithinMs: whole("start-within", 0) },
    say: (line) => console.log(`${((performance.now() - startedMs) / 1_000).toFixed(0).padStart(4)} s  ${line}`),
  }).catch(fail);
  print(result);
  await closeRpcClients();
}
