import { Observation } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { isContainer } from "./containers/container-folder.ts";
import type { Lines } from "./durable-file.ts";
import type { Happened } from "./workload.ts";

export interface ObservationsDeps {
  /** hosts/<host> */
  readonly host: string;
  /** Nobody else knows it: who could foretell the ids of observations could have them taken for repeated ones. */
  readonly hostUid: string;
  /** Publishes to the stream and resolves when it is stored there; the same id is stored once. */
  publish(subject: string, json: string, id: string): Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RETRY_MS = 1_000;

/**
 * What was seen, in order, on disk until the control plane's stream has it. An observation that is acknowledged may
 * be published again after a crash: its id makes that harmless.
 */
export class Observations {
  readonly #lines: Lines;
  readonly #deps: ObservationsDeps;
  readonly #stopped = new AbortController();
  #sequence = 0;
  #waiting: Observation[] = [];
  #writing: Promise<void> = Promise.resolve();
  #publishing: Promise<void> | undefined;

  private constructor(lines: Lines, deps: ObservationsDeps) {
    this.#lines = lines;
    this.#deps = deps;
  }

  static async open(lines: Lines, deps: ObservationsDeps): Promise<Observations> {
    const observations = new Observations(lines, deps);
    await observations.#load();
    observations.#wake();
    return observations;
  }

  /** Writes an observation down and sees to its publication. */
  add(workload: { readonly uid: string; readonly name: string }, happened: Happened): void {
    const observation = this.#observation(workload, happened);
    this.#writing = this.#writing.then(() => this.#append(observation));
    this.#writing.catch((error: unknown) => this.#deps.logger.error({ err: error }, "an observation is not written"));
  }

  async close(): Promise<void> {
    this.#stopped.abort(new DOMException("the agent is stopping", "AbortError"));
    await this.#writing;
    await this.#publishing;
  }

  #observation({ uid, name }: { uid: string; name: string }, happened: Happened): Observation {
    const { host, clock } = this.#deps;
    const common = { host, uid, workload: name, sequence: ++this.#sequence, time: clock.now(), reason: "" };
    if ("state" in happened) {
      return { ...common, reason: happened.reason, happened: { $case: "state", value: happened.state } };
    }
    if ("guestAgent" in happened) return { ...common, happened: { $case: "guestAgent", value: happened.guestAgent } };
    if ("digests" in happened) return { ...common, happened: { $case: "digests", value: happened.digests } };
    if ("storage" in happened) return { ...common, happened: { $case: "storage", value: happened.storage } };
    if ("readiness" in happened) return { ...common, happened: { $case: "readiness", value: happened.readiness } };
    if ("container" in happened) {
      return { ...common, reason: happened.reason, happened: { $case: "container", value: happened.container } };
    }
    if ("lease" in happened) {
      return { ...common, reason: happened.reason, happened: { $case: "lease", value: happened.lease } };
    }
    const reason = "found frozen without a live lease; thawed";
    return { ...common, reason, happened: { $case: "foundFrozen", value: {} } };
  }

  async #load(): Promise<void> {
    const { clock, logger } = this.#deps;
    const lines = await this.#lines.read(() => {
      logger.error("an observation on disk is not what was written: it is left out");
      // The last sequence may have been in it: it goes on above all that there can have been.
      this.#sequence = clock.now().getTime();
    });
    for (const line of lines) {
      const parsed: unknown = JSON.parse(line);
      if (isMark(parsed)) this.#sequence = Math.max(this.#sequence, parsed.last);
      else this.#waiting.push(Observation.fromJSON(parsed));
    }
    this.#sequence = Math.max(this.#sequence, ...this.#waiting.map(({ sequence }) => sequence));
  }

  async #append(observation: Observation): Promise<void> {
    try {
      await this.#lines.append(JSON.stringify(Observation.toJSON(observation)));
    } catch (error) {
      // On a full disk it is told all the same; only a crash before that would lose it.
      this.#deps.logger.warn({ err: error }, "an observation is not written down");
    }
    this.#waiting.push(observation);
    this.#wake();
  }

  #wake(): void {
    this.#publishing ??= this.#publishAll().finally(() => {
      this.#publishing = undefined;
      if (this.#waiting.length > 0 && !this.#stopped.signal.aborted) this.#wake();
    });
  }

  async #publishAll(): Promise<void> {
    const { signal } = this.#stopped;
    for (let next = this.#waiting[0]; next !== undefined && !signal.aborted; next = this.#waiting[0]) {
      try {
        const json = JSON.stringify(Observation.toJSON(next));
        const kind = isContainer(next.uid) ? "container" : "vm";
        const subject = `obs.${kind}.${next.uid}.${next.host.replace("hosts/", "")}`;
        await this.#deps.publish(subject, json, `${this.#deps.hostUid}:${next.sequence}`);
        this.#waiting.shift();
      } catch (error) {
        this.#deps.logger.debug({ err: error }, "an observation is not published yet");
        await this.#deps.clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
    if (this.#waiting.length === 0) await this.#shorten();
  }

  /** Once all are published the file holds only the last sequence, so that it is never used again. */
  async #shorten(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (this.#waiting.length > 0) return;
      try {
        await this.#lines.replace(JSON.stringify({ last: this.#sequence }));
      } catch (error) {
        this.#deps.logger.debug({ err: error }, "the file of observations is shortened later");
      }
    });
    await this.#writing;
  }
}

function isMark(value: unknown): value is { readonly last: number } {
  return typeof value === "object" && value !== null && "last" in value;
}
