import { OperationsDefinition, type OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { silentLogger } from "#libs/logger";
import { type CallScope, createRpcClient, RpcServer } from "#libs/rpc";
import { partialService } from "#libs/testing";

type Handlers = OperationsServiceImplementation<CallScope>;
export const operations = (handlers: Partial<Handlers>) => partialService<Handlers>(OperationsDefinition, handlers);

/** A server of these handlers and a client of it, closed together. */
export async function served(handlers: Partial<Handlers>, address = "127.0.0.1:0") {
  const server = new RpcServer({ logger: silentLogger }).add(OperationsDefinition, operations(handlers));
  const listening = await server.listen(address);
  const client = createRpcClient(OperationsDefinition, listening, { timeoutMs: 5_000 });
  return {
    address: listening,
    server,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await server.close();
    },
  };
}

export const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

/** Fails when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
