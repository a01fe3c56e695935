import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Lifecycle, runService } from "#libs/lifecycle";
import type { Terminal } from "../terminal.ts";
import { claimPort } from "./claim-port.ts";
import { claimDataFolder } from "./data-folder.ts";
import { startServers } from "./servers.ts";
import { startServices } from "./services.ts";

export { defaultDataFolder } from "./data-folder.ts";

export interface DevOptions {
  readonly folder: string;
  /** 0 is any free one. */
  readonly port: number;
  readonly registryPort: number;
}

const closeMs = 20_000;

/** Runs everything until SIGTERM or SIGINT; gives when it is ready. */
export async function runDev(terminal: Terminal, options: DevOptions): Promise<void> {
  // All of it is on loopback. A person's certificate in the environment is for a control plane elsewhere.
  for (const name of ["TLS_CA", "TLS_CERT", "TLS_KEY"]) delete process.env[name];
  await runService((lifecycle) => start(terminal, options, lifecycle), closeMs);
}

async function start(terminal: Terminal, options: DevOptions, lifecycle: Lifecycle): Promise<void> {
  const folder = await claimDataFolder(options.folder, lifecycle);
  const port = await claimPort(options.port, "--port");
  const registryPort = await claimPort(options.registryPort, "--registry-port");
  const logFolder = join(folder, "log");
  await mkdir(logFolder, { recursive: true, mode: 0o700 });
  const logFile = join(logFolder, "stillpoint.log");
  // The services' loggers read it; standard output is for the ready line.
  process.env.STILLPOINT_LOG_FILE = logFile;
  const address = `127.0.0.1:${port}`;
  const urls = await startServers(folder, lifecycle);
  await startServices(lifecycle, { folder, address, registryAddress: `127.0.0.1:${registryPort}`, urls });
  terminal.out(ready({ folder, logFile, address, registryUrl: `http://127.0.0.1:${registryPort}`, options }));
}

interface Ready {
  readonly folder: string;
  readonly logFile: string;
  readonly address: string;
  readonly registryUrl: string;
  readonly options: DevOptions;
}

function ready({ folder, logFile, address, registryUrl, options }: Ready): string {
  const exports = [
    ...(options.port === 7070 ? [] : [`  export STILLPOINT_ADDRESS=${address}`]),
    ...(options.registryPort === 7080 ? [] : [`  export STILLPOINT_REGISTRY=${registryUrl}`]),
  ];
  return [
    "Stillpoint is ready.",
    `  gRPC      ${address}`,
    `  registry  ${registryUrl}`,
    `  data      ${folder}`,
    `  log       ${logFile}`,
    "In another terminal:",
    ...exports,
    "  stillpoint image import disk.qcow2 debian:12",
    "  stillpoint vm create web-1 --image debian:12 --start",
    "Ctrl-C ends it; guests go on and are found again.",
    "",
  ].join("\n");
}
