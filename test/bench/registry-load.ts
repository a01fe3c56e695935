import { execFile } from "node:child_process";
import { openAsBlob } from "node:fs";
import { promisify } from "node:util";
import type { MeasuredRegistry } from "./registries.ts";

const connections = 32;
const run = promisify(execFile);

/** What measures, and the Debian package that has it. */
const tools = {
  "docker-registry": "docker-registry",
  wrk: "wrk",
  ab: "apache2-utils",
  curl: "curl",
  taskset: "util-linux",
};

/** Fails with the command that installs what is missing. */
export async function requireTools(): Promise<void> {
  const missing: string[] = [];
  for (const [tool, debianPackage] of Object.entries(tools)) {
    await run("which", [tool]).catch(() => missing.push(debianPackage));
  }
  if (missing.length === 0) return;
  throw new Error(
    `this benchmark needs ${missing.join(", ")} of Debian: bash deploy/setup.sh bench, or apt-get install them`,
  );
}

/** This process and all that it starts stay on two cores. */
export async function stayOnTwoCores(): Promise<void> {
  await run("taskset", ["--cpu-list", "--pid", "0,1", `${process.pid}`]);
}

/** GETs a second of one path over 32 connections, by wrk with one thread. */
export async function getsPerSecond({ url, headers }: MeasuredRegistry, path: string, seconds: number) {
  const { stdout } = await run("wrk", [
    ...["-t1", `-c${connections}`, `-d${seconds}s`],
    ...headerArguments(headers),
    `${url}${path}`,
  ]);
  refuseErrors(stdout, /Non-2xx|Socket errors/);
  return numberIn(stdout, /Requests\/sec:\s+([\d.]+)/);
}

/** HEADs a second, by ab: wrk waits for bodies that never come. */
export async function headsPerSecond({ url, headers }: MeasuredRegistry, path: string, seconds: number) {
  const { stdout } = await run("ab", [
    ...["-q", "-i", "-k", "-c", `${connections}`, "-t", `${seconds}`, "-n", "10000000"],
    ...headerArguments(headers),
    `${url}${path}`,
  ]);
  refuseErrors(stdout, /Non-2xx|Failed requests:\s+[1-9]/);
  return numberIn(stdout, /Requests per second:\s+([\d.]+)/);
}

/** Bytes a second of one GET, by curl. */
export async function downloadSpeed({ url, headers }: MeasuredRegistry, path: string): Promise<number> {
  return await curl(
    ["-o", "/dev/null", "-w", "%{http_code} %{speed_download}", ...headerArguments(headers), `${url}${path}`],
    200,
  );
}

/** Bytes a second of the PUT that sends a file as one blob, by curl; the upload is begun before. */
export async function uploadSpeed(registry: MeasuredRegistry, repository: string, file: BlobFile): Promise<number> {
  const { headers } = registry;
  return await curl(
    [
      ...["-X", "PUT", "-T", file.path, "-o", "/dev/null", "-w", "%{http_code} %{speed_upload}"],
      ...["-H", "Expect:", "-H", "Content-Type: application/octet-stream", ...headerArguments(headers)],
      await beginUpload(registry, repository, file.digest),
    ],
    201,
  );
}

/** A file and the digest of its content. */
export interface BlobFile {
  readonly path: string;
  readonly digest: string;
}

/** Pushes files and an image of them, which gets a tag. */
export async function pushImage(
  registry: MeasuredRegistry,
  repository: string,
  image: { files: readonly BlobFile[]; manifest: string; mediaType: string; tag: string },
) {
  for (const { path, digest } of image.files) {
    const target = await beginUpload(registry, repository, digest);
    await expectStatus(201, target, registry, { method: "PUT", body: await openAsBlob(path) });
  }
  const target = `${registry.url}/v2/${repository}/manifests/${image.tag}`;
  const init = { method: "PUT", body: image.manifest, headers: { "content-type": image.mediaType } };
  await expectStatus(201, target, registry, init);
}

/** The address that a PUT of the whole blob goes to. */
export async function beginUpload(registry: MeasuredRegistry, repository: string, digest: string): Promise<string> {
  const { url } = registry;
  const answer = await expectStatus(202, `${url}/v2/${repository}/blobs/uploads/`, registry, { method: "POST" });
  const location = new URL(answer.headers.get("location") ?? "", url);
  location.searchParams.set("digest", digest);
  return location.href;
}

async function expectStatus(wanted: number, target: string, { headers }: MeasuredRegistry, init: RequestInit) {
  const all = new Headers(init.headers);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const answer = await fetch(target, { ...init, headers: all });
  const text = await answer.text();
  if (answer.status !== wanted) throw new Error(`${init.method} ${target}: ${answer.status} ${text}`);
  return answer;
}

async function curl(args: readonly string[], wanted: number): Promise<number> {
  const { stdout } = await run("curl", ["--silent", "--show-error", ...args]);
  const [status, speed] = stdout.split(" ");
  if (status !== `${wanted}`) throw new Error(`curl got ${status} where ${wanted} was expected`);
  return Number(speed);
}

function headerArguments(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
}

function refuseErrors(output: string, pattern: RegExp): void {
  if (pattern.test(output)) throw new Error(`requests failed:\n${output}`);
}

function numberIn(output: string, pattern: RegExp): number {
  const value = Number(pattern.exec(output)?.[1]);
  if (!(value > 0)) throw new Error(`no figure in:\n${output}`);
  return value;
}
