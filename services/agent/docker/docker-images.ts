import type { Readable } from "node:stream";
import type Dockerode from "dockerode";
import { StillpointError } from "#libs/errors";
import type { EngineImage, EngineImages, RegistryLogin } from "../container-engine.ts";
import type { TransferControl } from "../ports.ts";
import { askEngine, askUnless, COPY_MS, END_MS, engineError, inTime } from "./engine-error.ts";
import { readJsonLines } from "./frames.ts";

/** Images that Docker Engine holds. */
export function dockerImages(docker: Dockerode): EngineImages {
  return {
    async find(image) {
      const what = `image ${image}`;
      const seen = await askUnless([404], what, async () => docker.getImage(image).inspect());
      return seen === undefined ? undefined : describe(seen);
    },

    async pull(image, login, control) {
      const what = `pulling ${image}`;
      const options = { ...auth(login), abortSignal: control.signal };
      const stream = await askEngine(what, async () => docker.pull(image, options));
      await follow(what, stream as Readable, control);
    },

    async push(image, login, control) {
      const what = `pushing ${image}`;
      const options = { authconfig: auth(login).authconfig ?? ANONYMOUS, abortSignal: control.signal };
      const stream = await askEngine(what, async () => docker.getImage(image).push(options));
      const { digest, sentLayers } = await follow(what, stream as Readable, control);
      if (digest !== undefined) return { digest, sentLayers };
      throw new StillpointError("ENGINE_FAILED", `${what}: the engine does not say its digest`);
    },

    async tag(image, { repository, tag }) {
      await askEngine(`naming ${image}`, async () => docker.getImage(image).tag({ repo: repository, tag }));
    },

    async remove(image) {
      await askUnless([404, 409], `removing image ${image}`, async () => docker.getImage(image).remove(), END_MS);
    },

    async save(image) {
      const what = `reading image ${image}`;
      return (await askEngine(what, async () => docker.getImage(image).get(), COPY_MS)) as Readable;
    },

    async load(archive) {
      const what = "loading an image";
      const stream = await askEngine(what, async () => docker.loadImage(archive), COPY_MS);
      await follow(what, stream as Readable, { signal: new AbortController().signal, progress: () => undefined });
    },
  };
}

/** Docker wants a header also where nobody logs in. */
const ANONYMOUS = { username: "", password: "" };

function auth(login: RegistryLogin | undefined): { authconfig?: RegistryLogin } {
  return login === undefined ? {} : { authconfig: login };
}

interface Progress {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly aux?: { readonly Digest?: string };
}

/** The engine tells of a transfer each moment, also while it unpacks. */
const SILENCE_MS = 5 * 60_000;

/** Each line, as long as the next one comes in time. */
async function* untilSilent(stream: Readable): AsyncGenerator<unknown> {
  const lines = readJsonLines(stream)[Symbol.asyncIterator]();
  try {
    for (let next = await inTime(lines.next(), SILENCE_MS); next.done !== true; ) {
      yield next.value;
      next = await inTime(lines.next(), SILENCE_MS);
    }
  } finally {
    stream.destroy();
  }
}

/** Reads a transfer to its end; gives the digest, where one is told, and the layers that were sent. */
async function follow(what: string, stream: Readable, { progress }: TransferControl) {
  const layers = new Map<string, { current: number; total: number }>();
  const sentLayers = new Set<string>();
  let digest: string | undefined;
  try {
    for await (const line of untilSilent(stream)) {
      const { id = "", status = "", error, progressDetail, aux } = line as Progress;
      if (error !== undefined) throw engineError(what, new Error(error));
      digest = aux?.Digest ?? digest;
      if (status === "Pushed") sentLayers.add(id);
      if (/^(Downloading|Pushing)/.test(status) && note(layers, id, progressDetail))
        progress(sum([...layers.values()]));
    }
    return { digest, sentLayers };
  } catch (error) {
    throw engineError(what, error);
  }
}

/** False where nothing is told that can be counted. */
function note(layers: Map<string, { current: number; total: number }>, id: string, detail: Progress["progressDetail"]) {
  if (detail?.total === undefined) return false;
  layers.set(id, { current: detail.current ?? 0, total: detail.total });
  return true;
}

function sum(layers: readonly { readonly current: number; readonly total: number }[]) {
  const bytesTotal = layers.reduce((bytes, { total }) => bytes + total, 0);
  const bytesDone = layers.reduce((bytes, { current, total }) => bytes + Math.min(current, total), 0);
  return { bytesDone, bytesTotal };
}

function describe({ Id, Architecture, Size, Config }: Dockerode.ImageInspectInfo): EngineImage {
  const { Entrypoint, Healthcheck } = Config;
  return {
    id: Id,
    architecture: Architecture,
    sizeBytes: Size,
    user: Config.User ?? "",
    entrypoint: typeof Entrypoint === "string" ? [Entrypoint] : (Entrypoint ?? []),
    command: Config.Cmd ?? [],
    env: Config.Env ?? [],
    workingDir: Config.WorkingDir ?? "",
    stopSignal: (Config as { readonly StopSignal?: string }).StopSignal ?? "",
    hasHealthCheck: Healthcheck?.Test !== undefined && Healthcheck.Test[0] !== "NONE",
    volumes: Object.keys((Config.Volumes as Record<string, unknown> | null | undefined) ?? {}),
  };
}
