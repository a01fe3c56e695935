import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { experimental, Metadata, status } from "@grpc/grpc-js";

const scheme = "stillpoint";
const lookEveryMs = 2_000;

type Endpoint = experimental.Endpoint;

/** The addresses of `a:1,b:2`, each `host:port` or `unix:/path`. */
export const addressesOf = (list: string): string[] => list.split(",").map((address) => address.trim());

/** What grpc-js is to dial for one address or for a list of them. */
export function targetOf(list: string): string {
  if (!list.includes(",")) return list;
  experimental.registerResolver(scheme, AddressListResolver);
  return `${scheme}:${list}`;
}

/** The host of `host:port`, without brackets. */
export const hostOf = (address: string): string => address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");

/** Gives a channel every address behind a list; names are looked up again when a connection was lost. */
class AddressListResolver implements experimental.Resolver {
  readonly #addresses: readonly string[];
  readonly #listener: experimental.ResolverListener;
  #timer: NodeJS.Timeout | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(target: experimental.GrpcUri, listener: experimental.ResolverListener) {
    this.#addresses = addressesOf(target.path);
    this.#listener = listener;
  }

  updateResolution(): void {
    const waitMs = Math.max(0, this.#lookedAtMs + lookEveryMs - performance.now());
    this.#timer ??= setTimeout(() => void this.#look(), waitMs).unref();
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const timer = this.#timer;
    this.#lookedAtMs = performance.now();
    const found = await Promise.allSettled(this.#addresses.map(endpointsOf));
    if (this.#timer !== timer || timer === undefined) return;
    this.#timer = undefined;
    const endpoints = found.flatMap((it) => (it.status === "fulfilled" ? it.value : []));
    this.#listener(endpoints.length > 0 ? experimental.statusOrFromValue(endpoints) : nobody(found), {}, null, "");
  }

  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return addressesOf(target.path)[0] ?? "";
  }
}

async function endpointsOf(address: string): Promise<Endpoint[]> {
  if (address.startsWith("unix:")) return [{ addresses: [{ path: address.slice("unix:".length) }] }];
  const host = hostOf(address);
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  const hosts = isIP(host) === 0 ? (await lookup(host, { all: true })).map((it) => it.address) : [host];
  return hosts.map((it) => ({ addresses: [{ host: it, port }] }));
}

function nobody(found: readonly PromiseSettledResult<unknown>[]): experimental.StatusOr<Endpoint[]> {
  const details = found.map((it) => (it.status === "rejected" ? String(it.reason) : "")).join("; ");
  return experimental.statusOrFromError({ code: status.UNAVAILABLE, details, metadata: new Metadata() });
}
