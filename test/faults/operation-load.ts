import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Operation, OperationState } from "#contracts/operation/v1/operation";
import { isStillpointError } from "#libs/errors";
import { createRegistryClient, importVmImage } from "#libs/oci";
import { eventually } from "#libs/testing";
import type { Api } from "../harness/api.ts";
import { untilDone } from "../harness/vm-client.ts";

const parent = "projects/default";
const PATIENCE_MS = 90_000;
const SILENT_FOR_MS = 15_000;
/** For no longer does a node that hears nothing of the others take itself for the leader, with room to spare. */
const CUT_OFF_MS = 30_000;

/** A disk of zeros as the image blank:1: a VM on it runs, and idles. */
export async function importBlank({ folder, registryUrl }: { readonly folder: string; readonly registryUrl: string }) {
  const file = join(folder, "blank.raw");
  await writeFile(file, Buffer.alloc(2 ** 20));
  const registry = createRegistryClient({ address: registryUrl });
  await importVmImage({ file, read: { format: "raw" }, reference: "blank:1", registry });
}

interface Accepted {
  readonly name: string;
  readonly what: string;
}

/**
 * Clients that ask for operations again and again, each request with an id that it keeps while it has no answer, and
 * now and then twice: probes, and VMs that are made, started and deleted.
 */
export class OperationLoad implements AsyncDisposable {
  readonly #api: Api;
  readonly #accepted: Accepted[] = [];
  readonly #violations: string[] = [];
  readonly #stopped = new AbortController();
  readonly #clients: Promise<void>[] = [];
  #ended = 0;
  #slowestMs = 0;

  readonly #hasOneHost: boolean;

  private constructor(api: Api, hasOneHost: boolean) {
    this.#api = api;
    this.#hasOneHost = hasOneHost;
  }

  /** @param image of the VMs; without one there are none. @param host where they are placed; anywhere if unsaid */
  static start(
    api: Api,
    options: { readonly probes?: number; readonly vms?: number; readonly image?: string; readonly host?: string },
  ): OperationLoad {
    const { probes = 2, vms = 2, image, host = "" } = options;
    const load = new OperationLoad(api, host !== "");
    for (let index = 0; index < probes; index++) load.#clients.push(load.#forEver(() => load.#probe()));
    for (let index = 0; image !== undefined && index < vms; index++) {
      let round = 0;
      load.#clients.push(load.#forEver(() => load.#liveVm(`load-${index}-${round++}`, { image, host })));
    }
    return load;
  }

  /** How many operations have been accepted, and how many of them have ended. */
  get counts() {
    return { accepted: this.#accepted.length, ended: this.#ended, slowestMs: Math.round(this.#slowestMs) };
  }

  /** Lets each client finish what it has begun. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await Promise.all(this.#clients);
  }

  /** After `stop`: operations that are not there, not done, or ended twice; requests that gave two. */
  async violations(): Promise<string[]> {
    const found = [...this.#violations];
    for (const { name, what } of this.#accepted) {
      const { state, done, error } = await this.#patiently(() => this.#api.operations.getOperation({ name }));
      if (!done) found.push(`${name} (${what}) is still ${state}`);
      // The one host where it is to be may be down.
      const isFair = this.#hasOneHost && error?.reason === "NO_HOST_FITS";
      if (done && state !== OperationState.SUCCEEDED && !isFair)
        found.push(`${name} (${what}) ended as ${state}: ${error?.message}`);
    }
    return found;
  }

  async #forEver(work: () => Promise<void>): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await work();
      await sleep(5);
    }
  }

  async #probe(): Promise<void> {
    await this.#carry("probe", (requestId) => this.#api.operations.probe({ requestId }));
  }

  async #liveVm(vmId: string, where: { readonly image: string; readonly host: string }): Promise<void> {
    const { vms } = this.#api;
    const name = `${parent}/vms/${vmId}`;
    const spec = { ...where, cpus: 1, memoryBytes: 64 * 2 ** 20 };
    const made = await this.#carry(`create ${vmId}`, (requestId) =>
      vms.createVm({ parent, vmId, spec, start: true, requestId }),
    );
    if (made.state !== OperationState.SUCCEEDED) return;
    await this.#carry(`delete ${vmId}`, (requestId) => vms.deleteVm({ name, force: true, requestId }));
  }

  async #carry(what: string, ask: (requestId: string) => Promise<{ name?: string }>): Promise<Operation> {
    const begunMs = performance.now();
    const name = await this.#accept(what, ask);
    this.#accepted.push({ name, what });
    const ended = await this.#patiently(() => untilDone(this.#api.operations, name, SILENT_FOR_MS), unheardOf).catch(
      async (cause: unknown) => {
        const seen = await this.#api.operations.getOperation({ name }).catch(String);
        throw new Error(`${what} does not end: ${JSON.stringify(seen)}`, { cause });
      },
    );
    await this.#confirm(ended, what);
    this.#ended++;
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - begunMs);
    return ended;
  }

  /** Asks twice with one id. */
  async #accept(what: string, ask: (requestId: string) => Promise<{ name?: string }>): Promise<string> {
    const requestId = crypto.randomUUID();
    const once = async () => (await this.#patiently(() => ask(requestId))).name ?? "";
    const [name, again] = await Promise.all([once(), once()]);
    if (name !== again) this.#violations.push(`${what}: one request gave ${name} and ${again}`);
    return name;
  }

  /** What was terminal once never changes; a node of NATS that is cut off may not have heard of its end for some seconds. */
  async #confirm({ name, state }: Operation, what: string): Promise<void> {
    const get = () => this.#patiently(() => this.#api.operations.getOperation({ name }), unheardOf);
    const heard = async () => {
      const found = await get();
      return found.done && found;
    };
    const later = await eventually(heard, { deadlineMs: CUT_OFF_MS }).catch(get);
    if (later.state !== state) this.#violations.push(`${name} (${what}) was ${state} and is ${later.state}`);
  }

  #patiently<Answer>(call: () => Promise<Answer>, mayPass = isForNow): Promise<Answer> {
    return eventually(
      async () => {
        try {
          return { answer: await call() };
        } catch (error) {
          if (mayPass(error)) throw error;
          return { error };
        }
      },
      { deadlineMs: PATIENCE_MS, everyMs: 100 },
    ).then((result) => {
      if ("error" in result) throw result.error;
      return result.answer;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await Promise.allSettled(this.#clients);
  }
}

const passing = ["UNAVAILABLE", "OUTCOME_UNKNOWN", "HOST_UNREACHABLE", "CANCELLED", "DEADLINE_EXCEEDED"] as const;

const isForNow = (error: unknown): boolean => passing.some((reason) => isStillpointError(error, reason));

/** A node of NATS that was cut off may believe for a moment longer that it leads, and has not heard of what is new. */
const unheardOf = (error: unknown): boolean => isForNow(error) || isStillpointError(error, "OPERATION_NOT_FOUND");
