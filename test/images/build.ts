import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { pack } from "tar-stream";
import type { TestEngine } from "#libs/testing";
import { cacheFolder } from "../guest/build.ts";
import { type DebianRoot, makeDebianRoot } from "./debian-root.ts";
import { programFiles } from "./program.ts";

/** What an image is built of: files by their path in the build's context, and build arguments. */
interface Build {
  readonly name: string;
  readonly files: readonly (readonly [path: string, source: string])[];
  readonly args?: Record<string, string>;
}

const here = import.meta.dirname;
const basePackages = [
  ...["base-files", "base-passwd", "usr-is-merged", "dash", "coreutils", "findutils", "grep", "sed", "procps"],
];
const documentation = ["doc", "i18n", "info", "locale", "man"].map((name) => `/usr/share/${name}/*`);

const roots = {
  base: { packages: basePackages, without: documentation },
  database: {
    packages: [...basePackages, "postgresql"],
    without: [
      ...documentation,
      ...["/usr/bin/perl*", "/usr/share/perl*", "/usr/lib/*/perl*", "/usr/lib/*/libperl*"],
      ...["/usr/lib/*/libLLVM*", "/usr/lib/*/libz3*", "/usr/lib/llvm*"],
      ...["/usr/lib/postgresql/*/bitcode/*", "/usr/lib/postgresql/*/llvmjit*"],
    ],
  },
  busybox: { packages: ["busybox-static"], without: documentation },
} satisfies Record<string, DebianRoot>;

/**
 * A small Debian with a shell, coreutils, find, grep, sed and ps, 32 MB; runs `sh`.
 * @returns the image's tag, as all of these; it is built when the engine lacks it, offline once its root is cached
 */
export async function baseImage(engine: TestEngine): Promise<string> {
  return await build(engine, {
    name: "base",
    files: [["root.tar", await rootArchive("base")], ...(await folderFiles("base"))],
  });
}

/**
 * The base with PostgreSQL, 130 MB: listens on 5432, lets everybody in as `postgres`, runs as that user and keeps its
 * data in the volume /var/lib/postgresql/data. `psql` and `pgbench` are in it. Arguments go to `postgres`
 * (`start-postgres -c fsync=off`).
 */
export async function databaseImage(engine: TestEngine): Promise<string> {
  return await build(engine, {
    name: "database",
    files: [
      ["root.tar", await rootArchive("database")],
      ...(await folderFiles("database")),
      ...(await folderFiles("base")).filter(([path]) => path.startsWith("etc/")),
    ],
  });
}

/** Busybox alone, static, 2 MB; runs `sh`. Nothing starts faster. */
export async function busyboxImage(engine: TestEngine): Promise<string> {
  return await build(engine, {
    name: "busybox",
    files: [["root.tar", await rootArchive("busybox")], ...(await folderFiles("busybox"))],
  });
}

/**
 * The base with a server of this machine's own, `nats-server` or `redis-server`, whose working folder is the volume
 * /data. It has no arguments of its own: run it with a command.
 */
export async function programImage(engine: TestEngine, program: string): Promise<string> {
  const files = await programFiles(program);
  return await build(engine, {
    name: program,
    args: { BASE: await baseImage(engine) },
    files: [...(await folderFiles("program")), ...files.map(([target, source]) => [`root/${target}`, source] as const)],
  });
}

/** Who pushes, where the registry asks for it. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/**
 * Pushes an image of the engine into a registry.
 * @param registry host and port; the engine speaks plain HTTP with one on 127.0.0.0/8
 * @returns what to pull, `<registry>/<repository>@<digest>`
 */
export async function pushImage(
  engine: TestEngine,
  tag: string,
  registry: string,
  repository: string,
  credentials?: Credentials,
): Promise<string> {
  const name = `${registry}/${repository}`;
  await engine.docker.getImage(tag).tag({ repo: name, tag: "latest" });
  const image = engine.docker.getImage(`${name}:latest`);
  try {
    const authconfig = { ...credentials, serveraddress: registry };
    const said = await toTheEnd(engine, await image.push({ tag: "latest", authconfig }));
    const digest = said.find(({ aux }) => aux?.Digest !== undefined)?.aux?.Digest;
    if (digest === undefined) throw new Error(`the push of ${name} gave no digest`);
    return `${name}@${digest}`;
  } finally {
    await image.remove();
  }
}

async function build(engine: TestEngine, { name, files, args = {} }: Build): Promise<string> {
  const tag = `stillpoint-test/${name}:${await hashOf(files, args)}`;
  const there = await engine.docker.listImages({ filters: { reference: [tag] } });
  if (there.length > 0) return tag;
  const context = pack();
  const packing = packFiles(context, files);
  const options = { t: tag, buildargs: args, networkmode: "none", forcerm: true };
  await toTheEnd(engine, await engine.docker.buildImage(Readable.from(context), options));
  await packing;
  return tag;
}

async function packFiles(context: ReturnType<typeof pack>, files: Build["files"]): Promise<void> {
  for (const [path, source] of files) {
    const { size, mode } = await stat(source);
    await new Promise<void>((resolve, reject) => {
      const entry = context.entry({ name: path, size, mode: mode & 0o777 }, (error) =>
        error ? reject(error) : resolve(),
      );
      createReadStream(source).once("error", reject).pipe(entry);
    });
  }
  context.finalize();
}

/** Of everything in it; the archive of a root is named by what it is made of. */
async function hashOf(files: Build["files"], args: Record<string, string>): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(args));
  for (const [path, source] of files) {
    const { mode } = await stat(source);
    hash.update(`\0${path}\0${mode & 0o111}\0`);
    hash.update(path === "root.tar" ? source : await readFile(source));
  }
  return hash.digest("hex").slice(0, 16);
}

async function rootArchive(name: keyof typeof roots): Promise<string> {
  const root = roots[name];
  const inputs = [
    await readFile("/etc/os-release", "utf8"),
    await readFile(join(here, "debian-root.ts"), "utf8"),
    root,
  ];
  const hash = createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
  const archive = join(cacheFolder(), "images", `${name}-${hash}.tar`);
  await makeDebianRoot(archive, root);
  return archive;
}

async function folderFiles(name: string): Promise<[path: string, source: string][]> {
  const folder = join(here, name);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return paths.sort().map((path) => [relative(folder, path), path]);
}

interface Progress {
  readonly aux?: { readonly ID?: string; readonly Digest?: string };
  readonly error?: string;
}

/** Reads what the engine says of a long action; its errors come in there too. */
async function toTheEnd({ docker }: TestEngine, stream: NodeJS.ReadableStream): Promise<Progress[]> {
  return await new Promise((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null, said: Progress[]) =>
      error ? reject(error) : resolve(said),
    );
  });
}
