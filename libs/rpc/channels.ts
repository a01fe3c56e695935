import { Channel, ChannelCredentials } from "@grpc/grpc-js";
import type { Identity, TlsIdentity } from "#libs/tls";
import { addressesOf, targetOf } from "./address-list.ts";
import { channelCredentials, serverName, serviceCredentials } from "./credentials.ts";

const mebibyte = 1024 * 1024;
const channels = new Map<string, { channel: Channel; users: number }>();

/** Whom to reach, and as whom. */
export interface Target {
  /** One address, or several replicas separated by commas: calls go round all of them that can be reached. */
  readonly address: string;
  /** Left out: without TLS. Unix sockets never have it. */
  readonly tls?: TlsIdentity | undefined;
  /** Whom the certificate there must stand for; left out: for the address. */
  readonly peer?: Identity | undefined;
  /** PEM: whoever answers must be a service of this authority; it is shown no certificate. Instead of `tls`. */
  readonly authority?: string | undefined;
}

/** The process's one channel to a target; `release` gives it up, and the last one to do so closes it. */
export function acquireChannel(target: Target): { channel: Channel; release: () => void } {
  const key = [target.address, target.peer, target.tls?.files.cert, target.authority].join(" ");
  const entry = channels.get(key) ?? { channel: openChannel(target), users: 0 };
  channels.set(key, entry);
  entry.users++;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    entry.users--;
    if (entry.users > 0) return;
    if (channels.get(key) === entry) channels.delete(key);
    entry.channel.close();
  };
  return { channel: entry.channel, release };
}

/** Closes all; clients that were made before fail from now on. */
export function closeChannels(): void {
  for (const { channel } of channels.values()) channel.close();
  channels.clear();
}

function openChannel(target: Target): Channel {
  const { address, peer } = target;
  const credentials = credentialsFor(target);
  return new Channel(targetOf(address), credentials, {
    ...(credentials._isSecure() ? serverName({ address, peer }) : {}),
    "grpc.max_receive_message_length": 16 * mebibyte,
    "grpc.max_send_message_length": 16 * mebibyte,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    // A service that was restarted is found again soon.
    "grpc.initial_reconnect_backoff_ms": 100,
    // How long one attempt to connect may take (nice-grpc's connectTimeoutPatch): a busy server is slow to greet.
    "grpc.min_reconnect_backoff_ms": 10_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // A name that stands for several replicas is looked up again this soon after a connection was lost.
    "grpc.dns_min_time_between_resolutions_ms": 5_000,
    "grpc.enable_channelz": 0,
    // Our services are never behind the proxy that http_proxy names.
    "grpc.enable_http_proxy": 0,
  });
}

function credentialsFor({ address, tls, peer, authority }: Target): ChannelCredentials {
  if (addressesOf(address).every((it) => it.startsWith("unix:"))) return ChannelCredentials.createInsecure();
  if (authority !== undefined) return serviceCredentials(authority);
  return tls === undefined ? ChannelCredentials.createInsecure() : channelCredentials({ tls, address, peer });
}
