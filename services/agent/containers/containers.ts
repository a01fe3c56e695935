import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { ContainerDefinition, ContainerStatus } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { SecretKeys } from "#libs/secrets";
import { syncFolder } from "../durable-file.ts";
import { readManifest, writeManifest } from "../manifest.ts";
import { readHashed, withHash } from "../own-sum.ts";
import { journalsIn } from "../steps/step-runner.ts";
import type { DataFolder } from "../workload-folder.ts";
import { Container, type ContainerDeps, type ContainerManifest, type ToldStatus } from "./container.ts";
import { containerFolder } from "./container-folder.ts";
import { keepValues, resealValues } from "./sealed-values.ts";

/** The containers that have a folder on this host. */
export class Containers {
  readonly #data: DataFolder;
  readonly #deps: ContainerDeps;
  readonly #keys: SecretKeys;
  readonly #byUid = new Map<string, Container>();

  private constructor(data: DataFolder, deps: ContainerDeps, keys: SecretKeys) {
    this.#data = data;
    this.#deps = deps;
    this.#keys = keys;
  }

  /** Reads every container's files; the engine is asked by the watch over it. */
  static async open(data: DataFolder, deps: ContainerDeps, keys: SecretKeys): Promise<Containers> {
    const containers = new Containers(data, deps, keys);
    await mkdir(data.containers, { recursive: true, mode: 0o700 });
    for (const uid of await readdir(data.containers)) await containers.#load(uid);
    return containers;
  }

  list(): Container[] {
    return [...this.#byUid.values()];
  }

  find(uid: string): Container | undefined {
    return this.#byUid.get(uid);
  }

  /** @throws StillpointError WORKLOAD_NOT_FOUND */
  get(uid: string): Container {
    const container = this.#byUid.get(uid);
    if (container !== undefined) return container;
    throw new StillpointError("WORKLOAD_NOT_FOUND", `this host has no container ${uid}`);
  }

  /**
   * Writes a new container down while `make` has the engine make it; it is one of this host's when both are done.
   * Values of secrets are kept in a file of their own, which is there before.
   */
  async add(
    definition: ContainerDefinition,
    manifest: ContainerManifest,
    make: (container: Container) => Promise<void>,
  ): Promise<Container> {
    const folder = containerFolder(this.#data, definition.uid);
    await mkdir(folder.root, { recursive: true, mode: 0o700 });
    const { secrets = [] } = definition.spec ?? {};
    if (secrets.length > 0) await keepValues(this.#keys, folder.secrets, definition.uid, secrets);
    const kept = withoutSecrets(definition);
    const container = new Container({ definition: kept, folder, manifest, deps: this.#deps });
    const both = await Promise.allSettled([make(container), this.#write(container)]);
    for (const part of both) if (part.status === "rejected") throw part.reason;
    this.#byUid.set(definition.uid, container);
    return container;
  }

  /** Removes every file of a container that the engine does not have any more. */
  async remove(uid: string): Promise<void> {
    const container = this.#byUid.get(uid);
    this.#byUid.delete(uid);
    await container?.settle();
    // A copy of a record may be written there at this very moment.
    const whole = { recursive: true, force: true, maxRetries: 10, retryDelay: 20 };
    await rm(containerFolder(this.#data, uid).root, whole);
    await syncFolder(this.#data.containers);
  }

  /** The manifest last: without it nothing here counts, and with it all of the folder is on the disk. */
  async #write({ definition, folder, manifest }: Container): Promise<void> {
    const spec = withHash(ContainerDefinition.toJSON(definition) as object);
    await writeFile(folder.spec, spec, { mode: 0o600, flush: true });
    await writeManifest(folder.manifest, manifest);
    await syncFolder(this.#data.containers);
  }

  /** A folder without a manifest is the beginning of a creation that was cut off: the step is tried again or undone. */
  async #load(uid: string): Promise<void> {
    const folder = containerFolder(this.#data, uid);
    try {
      const manifest = await readManifest<ContainerManifest>(folder.manifest);
      await journalsIn(this.#data.journals).linesOf(uid).read(); // without it nobody knows whose word counts
      const definition = ContainerDefinition.fromJSON(await readHashed(folder.spec));
      const told = await readTold(folder.status);
      if ((definition.spec?.secrets ?? []).length > 0) await this.#reseal(uid, folder.secrets);
      this.#byUid.set(uid, new Container({ definition, folder, manifest, told, deps: this.#deps }));
    } catch (error) {
      this.#deps.logger.warn({ err: error, uid }, "the container's files cannot be read");
    }
  }

  /** It runs on without; its next start after a boot says the same. */
  async #reseal(uid: string, file: string): Promise<void> {
    await resealValues(this.#keys, file, uid).catch((error: unknown) => {
      this.#deps.logger.error({ err: error, uid }, "the container's secrets stay sealed as they are");
    });
  }
}

/** Undefined when it was never written, or was cut off while it was. */
async function readTold(path: string): Promise<ToldStatus | undefined> {
  try {
    const { status, eventTime } = JSON.parse(await readFile(path, "utf8")) as { status: unknown; eventTime: number };
    return { status: ContainerStatus.fromJSON(status), eventTime };
  } catch {
    return undefined;
  }
}

function withoutSecrets(definition: ContainerDefinition): ContainerDefinition {
  const { spec } = definition;
  if (spec === undefined) return definition;
  const secrets = spec.secrets.map(({ name }) => ({ name, value: new Uint8Array() }));
  return { ...definition, spec: { ...spec, secrets } };
}
