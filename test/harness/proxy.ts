import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Place } from "#libs/testing";
import { repository } from "./command.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export interface ProxyOptions {
  readonly place: Place;
  /** Empty, and its own. */
  readonly folder: string;
  /** host:port of every replica, by the names of upstreams in deploy/nginx/nginx.conf. */
  readonly upstreams: Readonly<Record<string, readonly string[]>>;
  readonly port: number;
  readonly registryPort: number;
  readonly healthPort: number;
  /** Folder with the certificate of svc/proxy; without it nothing has TLS. */
  readonly certificate?: string;
}

/** nginx with the deployed configuration, before the replicas that are given. */
export async function startProxy(options: ProxyOptions): Promise<SupervisedProcess> {
  const { place, folder } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const deployed = await readFile(join(repository, "deploy/nginx/nginx.conf"), "utf8");
  const text = configured(deployed, options);
  const file = join(folder, "nginx.conf");
  await writeFile(file, options.certificate === undefined ? withoutTls(text) : text);
  const argv = place.command(["nginx", "-p", folder, "-e", "stderr", "-c", file]);
  return SupervisedProcess.run(() => ({ argv }), join(folder, "nginx.log"));
}

function configured(deployed: string, options: ProxyOptions): string {
  const { place, folder, upstreams, certificate = "", port, registryPort, healthPort } = options;
  const own = deployed
    // One process, as workers outlive a master that is killed, and one that reads what root alone may read.
    .replace("daemon off;", "daemon off;\nmaster_process off;\nuser root;")
    .replaceAll("/tmp/", `${folder}/`)
    .replaceAll("/run/stillpoint/", `${certificate}/`)
    .replace("listen 7070", `listen ${place.address}:${port}`)
    .replace("listen 7080", `listen ${place.address}:${registryPort}`)
    .replace("listen 127.0.0.1:7090", `listen 127.0.0.1:${healthPort}`)
    .replace("worker_processes auto", "worker_processes 1");
  return own.replaceAll(
    /upstream ([a-z-]+) \{\n(\s+)server \S+ (.*;)/g,
    (_, name: string, indent: string, rest: string) => {
      const servers = (upstreams[name] ?? []).map((address) => `${indent}server ${address} ${rest}`);
      return [`upstream ${name} {`, ...servers].join("\n");
    },
  );
}

/** Plain connections between all, as everything is on the loopback. */
function withoutTls(text: string): string {
  return text
    .replaceAll(/^\s+(ssl|grpc_ssl|proxy_ssl)_.*;\n/gm, "")
    .replaceAll(/^(\s+listen \S+) ssl/gm, "$1")
    .replaceAll("grpcs://", "grpc://")
    .replaceAll("https://registry-http", "http://registry-http");
}
