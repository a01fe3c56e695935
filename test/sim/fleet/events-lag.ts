import { isStillpointError } from "#libs/errors";
import type { Api } from "../../harness/api.ts";

/** How long events take from their record's write to a client that watches. */
export class EventsLag implements AsyncDisposable {
  readonly values: number[] = [];
  readonly #ended = new AbortController();
  #since = "";
  #watching: Promise<void> = Promise.resolve();

  static follow({ events }: Pick<Api, "events">, filter: string): EventsLag {
    const lag = new EventsLag();
    lag.#watching = lag.#watch(events, filter);
    return lag;
  }

  async #watch(events: Api["events"], filter: string): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#read(events, filter).catch((error: unknown) => {
        // A machine that has no time for its connections loses them.
        if (!signal.aborted && !isStillpointError(error, "UNAVAILABLE")) throw error;
      });
    }
  }

  async #read(events: Api["events"], filter: string): Promise<void> {
    const { signal } = this.#ended;
    const request = { filter, since: this.#since, follow: true };
    for await (const { time, token } of events.watchEvents(request, { signal })) {
      this.#since = token;
      if (time !== undefined) this.values.push(Date.now() - time.getTime());
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#watching;
  }
}
