import { type Command, InvalidArgumentError } from "commander";
import type { Capacity } from "#contracts/scheduler/v1/scheduler";
import { hostName } from "#libs/names";
import { type Api, type CommonOptions, withApi } from "../api.ts";
import { leafCommand } from "../leaf-command.ts";
import { collect } from "../parse/collect.ts";
import { parseCpus } from "../parse/cpus.ts";
import { collectLabel } from "../parse/label.ts";
import { parseSize } from "../parse/size.ts";
import type { Terminal } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { printHost } from "./host-read.ts";

interface SetOptions extends CommonOptions {
  readonly zone?: string;
  readonly cpuOvercommit?: number;
  readonly reserveCpus?: number;
  readonly reserveMemory?: number;
  readonly reserveDisk?: number;
  readonly label?: Readonly<Record<string, string>>;
  readonly removeLabel?: readonly string[];
}

/** stillpoint host set */
export function hostSetCommand(terminal: Terminal): Command {
  return leafCommand("set", "Change what an operator says of a host.")
    .argument("<name>")
    .option("--zone <zone>", 'where it stands, whatever its agent says; "" for what its agent says')
    .option("--cpu-overcommit <ratio>", "virtual CPUs for each that it has, 1 to 64; 0 for the default", parseRatio)
    .option("--reserve-cpus <n>", "CPUs that are kept back for the host itself", orNone(parseCpus))
    .option("--reserve-memory <size>", "memory that is kept back", orNone(parseSize))
    .option("--reserve-disk <size>", "disk that is kept back", orNone(parseSize))
    .option("--label <key=value>", "give it a label; repeatable", collectLabel)
    .option("--remove-label <key>", "take away a label that an operator has given; repeatable", collect(String))
    .action((host: string, options: SetOptions) => withApi(terminal, options, (api) => setHost(api, host, options)));
}

async function setHost(api: Api, host: string, options: SetOptions): Promise<void> {
  const name = hostName(host);
  const hosts = await api.hosts();
  const reserved = options.reserveCpus ?? options.reserveMemory ?? options.reserveDisk;
  const { zone, cpuOvercommit, label: setLabels, removeLabel } = options;
  const asked = {
    ...(zone !== undefined && { zone }),
    ...(cpuOvercommit !== undefined && { cpuOvercommit }),
    ...(setLabels !== undefined && { setLabels: { ...setLabels } }),
    ...(removeLabel !== undefined && { removeLabels: [...removeLabel] }),
    ...(reserved !== undefined && { reserved: keptBack((await hosts.getHost({ name })).reserved, options) }),
  };
  if (Object.keys(asked).length === 0) {
    throw new UsageError("there is nothing to set", { help: "Name a setting; see: stillpoint host set --help" });
  }
  await printHost(api, await hosts.updateHost({ name, ...asked }));
}

/** What is not named stays as it is. */
function keptBack(before: Partial<Capacity> = {}, { reserveCpus, reserveMemory, reserveDisk }: SetOptions): Capacity {
  const { cpuMillis = 0, memoryBytes = 0, diskBytes = 0 } = before;
  return {
    cpus: 0,
    cpuMillis: reserveCpus ?? cpuMillis,
    memoryBytes: reserveMemory ?? memoryBytes,
    diskBytes: reserveDisk ?? diskBytes,
  };
}

const orNone =
  (parse: (text: string) => number) =>
  (text: string): number =>
    text === "0" ? 0 : parse(text);

function parseRatio(text: string): number {
  const ratio = /^\d{1,2}(\.\d{1,3})?$/.test(text) ? Number(text) : -1;
  if (ratio === 0 || (ratio >= 1 && ratio <= 64)) return ratio;
  throw new InvalidArgumentError("Write a ratio such as 1, 1.5 or 4; 64 at most; 0 for the default.");
}
