import { Channel, ChannelCredentials } from "@grpc/grpc-js";

const mebibyte = 1024 * 1024;
const channels = new Map<string, { channel: Channel; users: number }>();

/** The process's one channel to a target; `release` gives it up, and the last one to do so closes it. */
export function acquireChannel(address: string): { channel: Channel; release: () => void } {
  const entry = channels.get(address) ?? { channel: openChannel(address), users: 0 };
  channels.set(address, entry);
  entry.users++;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    entry.users--;
    if (entry.users > 0) return;
    if (channels.get(address) === entry) channels.delete(address);
    entry.channel.close();
  };
  return { channel: entry.channel, release };
}

/** Closes all; clients that were made before fail from now on. */
export function closeChannels(): void {
  for (const { channel } of channels.values()) channel.close();
  channels.clear();
}

function openChannel(address: string): Channel {
  return new Channel(address, ChannelCredentials.createInsecure(), {
    "grpc.max_receive_message_length": 16 * mebibyte,
    "grpc.max_send_message_length": 16 * mebibyte,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    // A service that was restarted is found again soon.
    "grpc.initial_reconnect_backoff_ms": 100,
    // How long one attempt to connect may take (nice-grpc's connectTimeoutPatch): a busy server is slow to greet.
    "grpc.min_reconnect_backoff_ms": 10_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    "grpc.enable_channelz": 0,
    // Our services are never behind the proxy that http_proxy names.
    "grpc.enable_http_proxy": 0,
  });
}
