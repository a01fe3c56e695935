import { access, chmod, chown, glob, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { VmDefinition } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { syncFolder } from "./durable-file.ts";
import { type Manifest, readManifest, writeManifest } from "./manifest.ts";
import { readHashed } from "./own-sum.ts";
import { journalsIn } from "./steps/step-runner.ts";
import { Workload, type WorkloadDeps, writeDefinition } from "./workload.ts";
import { type DataFolder, workloadFolder } from "./workload-folder.ts";

/** May be walked through, by the users that QEMU runs as, but not listed. */
const PASSAGE = 0o711;

/** Where files are that `writeDurably` replaces: none is named by what users write. */
const REPLACED = ["", "kept/", "{workloads,containers}/*/", "{workloads,containers}/*/kept/"];

/** The workloads that have files on this host. */
export class Workloads {
  readonly #data: DataFolder;
  readonly #deps: WorkloadDeps;
  readonly #byUid = new Map<string, Workload>();
  readonly #unreadable = new Set<string>();

  private constructor(data: DataFolder, deps: WorkloadDeps) {
    this.#data = data;
    this.#deps = deps;
  }

  /** Reads every workload's files; machines are looked for by `adopt`. */
  static async open(data: DataFolder, deps: WorkloadDeps): Promise<Workloads> {
    const workloads = new Workloads(data, deps);
    for (const path of [data.root, data.workloads, data.images]) await makePassage(path);
    for await (const path of glob(REPLACED.map((folder) => join(data.root, `${folder}*.json.tmp`)))) await rm(path);
    for (const uid of await readdir(data.workloads)) await workloads.#load(uid);
    return workloads;
  }

  list(): Workload[] {
    return [...this.#byUid.values()];
  }

  /** Whether all of them could be read; of the others nobody knows what they stand on. */
  get areAllKnown(): boolean {
    return this.#unreadable.size === 0;
  }

  /** uids of those whose files cannot be read. */
  get unreadable(): string[] {
    return [...this.#unreadable];
  }

  find(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  /** @throws StillpointError WORKLOAD_NOT_FOUND */
  get(uid: string): Workload {
    const workload = this.#byUid.get(uid);
    if (workload !== undefined) return workload;
    throw new StillpointError("WORKLOAD_NOT_FOUND", `this host has no workload ${uid}`);
  }

  /** Writes down a new workload, its manifest last; the files that the manifest names are still to be made. */
  async add(definition: VmDefinition, manifest: Manifest): Promise<Workload> {
    const folder = workloadFolder(this.#data, definition.uid);
    await makePassage(folder.root);
    await keepPrivate(folder.root, manifest.processUid);
    await makePassage(join(folder.root, "disks"));
    for (const { id } of definition.disks) await makePassage(folder.disk(id));
    await mkdir(folder.checkpoints, { recursive: true, mode: 0o700 });
    await writeDefinition(folder, definition);
    await writeManifest(folder.manifest, manifest);
    await syncFolder(this.#data.workloads);
    const workload = new Workload(definition, folder, manifest, this.#deps);
    this.#byUid.set(definition.uid, workload);
    return workload;
  }

  /** Lets go of every machine; they run on. */
  release(): void {
    for (const { machine } of this.list()) machine?.release();
  }

  /** Removes every file of a workload whose machine has ended. */
  async remove(uid: string): Promise<void> {
    // A copy of a record may be written there at this very moment.
    const whole = { recursive: true, force: true, maxRetries: 10, retryDelay: 20 };
    await rm(workloadFolder(this.#data, uid).root, whole);
    await syncFolder(this.#data.workloads);
    this.#byUid.delete(uid);
    this.#unreadable.delete(uid);
  }

  /** A folder without a manifest is the beginning of a creation that was cut off: the step is tried again or undone. */
  async #load(uid: string): Promise<void> {
    const folder = workloadFolder(this.#data, uid);
    try {
      const manifest = await readManifest(folder.manifest);
      await journalsIn(this.#data.journals).linesOf(uid).read(); // without it nobody knows whose word counts
      const definition = VmDefinition.fromJSON(await readHashed(folder.spec));
      this.#byUid.set(uid, new Workload(definition, folder, manifest, this.#deps));
    } catch (error) {
      if (await exists(folder.manifest)) this.#unreadable.add(uid);
      this.#deps.logger.warn({ err: error, uid }, "the workload's files cannot be read");
    }
  }
}

/** Files in it may be for all to read: nobody but its VM's user walks through. */
async function keepPrivate(path: string, processUid: number | null): Promise<void> {
  if (processUid !== null) await chown(path, process.getuid?.() ?? 0, processUid);
  await chmod(path, processUid === null ? 0o700 : 0o710);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function makePassage(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, PASSAGE);
}
