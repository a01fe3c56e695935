import { StillpointError } from "#libs/errors";
import type { Late } from "./late.ts";

/** Handlers of a gRPC service that is there as soon as NATS is; until then each fails with UNAVAILABLE. */
export function lateHandlers<Handlers extends object>(handlers: Late<Handlers>): Handlers {
  const handlerOf = (name: PropertyKey) => async (request: unknown, scope: unknown) => {
    if (handlers.now === undefined) throw new StillpointError("UNAVAILABLE", "NATS does not answer yet: try again");
    const handle: unknown = Reflect.get(handlers.now, name);
    return typeof handle === "function" ? await handle.call(handlers.now, request, scope) : undefined;
  };
  return new Proxy({} as Handlers, { get: (_none, name) => handlerOf(name) });
}
