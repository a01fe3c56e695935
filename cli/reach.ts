import { connect } from "node:net";
import { StillpointError } from "#libs/errors";
import { UsageError } from "./usage-error.ts";

const connectMs = 5_000;

/** Fails with UNAVAILABLE when nobody accepts a connection at any of the addresses soon: a call would only fail later. */
export async function reach(addresses: string, timeoutMs = connectMs): Promise<void> {
  const tries = addresses.split(",").map((address) => reachOne(address.trim(), timeoutMs));
  await Promise.any(tries).catch(({ errors: [first] }: AggregateError) => {
    throw tries.length === 1 || first instanceof UsageError ? first : unreachable(addresses, first);
  });
}

async function reachOne(address: string, timeoutMs: number): Promise<void> {
  const target = endpoint(address);
  await new Promise<void>((resolve, reject) => {
    const socket = connect(target);
    const fail = (cause: unknown) => {
      socket.destroy();
      reject(unreachable(address, cause));
    };
    // On a busy machine the time may have passed while we did other things: a connection that is there comes first.
    socket.setTimeout(timeoutMs, () => setImmediate(() => fail(new Error("it does not answer"))));
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

function endpoint(address: string): { path: string } | { host: string; port: number } {
  if (address.startsWith("unix:")) return { path: address.slice("unix:".length) };
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) {
    throw new UsageError(`"${address}" is no address`, {
      help: "Write host:port or unix:/path, or several with commas, in --address or STILLPOINT_ADDRESS.",
    });
  }
  return { host, port: Number(port) };
}

const unreachable = (address: string, cause: unknown) =>
  new StillpointError("UNAVAILABLE", `cannot reach ${address}`, {
    cause,
    help: 'Start a server with "stillpoint dev", or name another with --address or STILLPOINT_ADDRESS.',
  });
