import { AsyncLocalStorage } from "node:async_hooks";

/** What a log line and a call to another service carry, so that one request can be followed through all of them. */
export interface Ids {
  readonly requestId?: string;
  readonly operationId?: string;
}

const storage = new AsyncLocalStorage<Ids>();

/** The ids of the request or operation that this code runs for. */
export const currentIds = (): Ids => storage.getStore() ?? {};

/** Runs `work` with these ids added to the current ones. */
export const withIds = <Result>(ids: Ids, work: () => Result): Result => storage.run({ ...currentIds(), ...ids }, work);

/** As withIds, for the rest of the current asynchronous flow: a generator cannot be run inside a function. */
export const enterIds = (ids: Ids): void => storage.enterWith({ ...currentIds(), ...ids });
