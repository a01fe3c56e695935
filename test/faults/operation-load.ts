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
  #abandoned = 0;
  #slowestMs = 0;

  private constructor(api: Api) {
    this.#api = api;
  }

  /** @param image of the VMs; without one there are none */
  static start(
    api: Api,
    options: { readonly probes?: number; readonly vms?: number; readonly image?: string },
  ): OperationLoad {
    const load = new OperationLoad(api);
    const { probes = 2, vms = 2, image } = options;
    for (let index = 0; index < probes; index++) load.#clients.push(load.#forEver(() => load.#probe()));
    for (let index = 0; image !== undefined && index < vms; index++) {
      let round = 0;
      load.#clients.push(load.#forEver(() => load.#liveVm(`load-${index}-${round++}`, image)));
    }
    return load;
  }

  /** How many operations have been accepted, how many of them have ended, and how many were given up before that. */
  get counts() {
    const slowestMs = Math.round(this.#slowestMs);
    return {
      accepted: this.#accepted.length,
      ended: this.#ended,
      abandoned: this.#abandoned,
      slowestMs,
    };
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
      if (done && state !== OperationState.SUCCEEDED)
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

  async #liveVm(vmId: string, image: string): Promise<void> {
    const { vms } = this.#api;
    const name = `${parent}/vms/${vmId}`;
    const spec = { image, cpus: 1, memoryBytes: 64 * 2 ** 20 };
    const made = await this.#carry(`create ${vmId}`, (requestId) =>
      vms.createVm({ parent, vmId, spec, start: true, requestId }),
    );
    if (made.state !== OperationState.SUCCEEDED) return;
    await this.#carry(`delete ${vmId}`, (requestId) => vms.deleteVm({ name, force: true, requestId }));
  }

  async #carry(what: string, ask: (requestId: string) => Promise<{ name?: string }>): Promise<Operation> {
    const begunMs = performance.now();
    let name = await this.#accept(what, ask);
    while (name === undefined) name = await this.#accept(what, ask);
    this.#accepted.push({ name, what });
    const accepted = name;
    const ended = await this.#patiently(() => untilDone(this.#api.operations, accepted, SILENT_FOR_MS));
    await this.#confirm(ended, what);
    this.#ended++;
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - begunMs);
    return ended;
  }

  /** Asks twice with one id. Undefined when it was given up before anybody was told that it is accepted. */
  async #accept(what: string, ask: (requestId: string) => Promise<{ name?: string }>): Promise<string | undefined> {
    const requestId = crypto.randomUUID();
    const names = await Promise.all(
      [1, 2].map(async () => {
        try {
          return (await this.#patiently(() => ask(requestId))).name;
        } catch (error) {
          if (isStillpointError(error, "OPERATION_ABANDONED")) return undefined;
          throw error;
        }
      }),
    );
    if (names[0] !== names[1]) this.#violations.push(`${what}: one request gave ${names.join(" and ")}`);
    if (names[0] === undefined) this.#abandoned++;
    return names[0];
  }

  /** What was terminal once never changes. */
  async #confirm({ name, state }: Operation, what: string): Promise<void> {
    const later = await this.#patiently(() => this.#api.operations.getOperation({ name }));
    if (later.state !== state) this.#violations.push(`${name} (${what}) was ${state} and is ${later.state}`);
  }

  #patiently<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    return eventually(
      async () => {
        try {
          return { answer: await call() };
        } catch (error) {
          if (isForNow(error)) return undefined;
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
